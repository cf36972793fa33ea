"""faults.py: faults told together."""

from __future__ import annotations

from tidegate.data.faults import Fault, Faults, suggest


def test_one_fault_is_one_sentence_with_its_source() -> None:
    faults = Faults("a.csv")
    faults.add("expected x", "line 3", "Mend it.")
    assert str(faults.error()) == "a.csv: line 3: expected x. Mend it."


def test_a_few_faults_of_a_kind_are_told_one_by_one_and_at_most_20_of_all() -> None:
    faults = Faults("a.csv")
    faults.many(3, (Fault(f"bad {k}") for k in range(3)), "things are bad")
    for k in range(28):
        faults.add(f"other {k}")
    lines = str(faults.error()).splitlines()
    assert lines[0] == "a.csv: 31 faults"
    assert lines[1] == "  1. bad 0."
    assert lines[20] == "  20. other 16."
    assert lines[-1] == "  and 11 more"
    assert len(lines) == 22


def test_many_faults_of_a_kind_are_one_line_with_the_first_three_and_are_counted() -> None:
    faults = Faults("a.csv")
    faults.many(1000, (Fault(f"bad {k}", f"line {k}", "Mend it.") for k in range(20)), "things are bad")
    told = "a.csv: 1,000 things are bad: bad 0 (line 0); bad 1 (line 1); bad 2 (line 2) and 997 more. Mend it."
    assert str(faults.error()) == told
    faults.many(4, (Fault("the id is missing", f"line {k}") for k in range(4)), "ids are missing")
    lines = str(faults.error()).splitlines()
    assert lines[0] == "a.csv: 1004 faults"
    assert lines[2] == "  2. 4 ids are missing: line 0; line 1; line 2 and 1 more."


def test_suggest() -> None:
    assert suggest("Temp", ["temp", "wind"]) == "Did you mean 'temp'?"
    assert suggest("xyz", [f"c{k}" for k in range(100_000)]).endswith("(100000 columns).")
