"""faults.py: faults told together."""

from __future__ import annotations

from tidegate.data.faults import Fault, Faults, suggest


def test_one_fault_is_one_sentence_with_its_source() -> None:
    faults = Faults("a.csv")
    faults.add("expected x", "line 3", "Mend it.")
    assert str(faults.error()) == "a.csv: line 3: expected x. Mend it."


def test_many_faults_are_numbered_and_counted() -> None:
    faults = Faults("a.csv")
    faults.many(30, (Fault(f"bad {k}") for k in range(30)))
    faults.add("other")
    lines = str(faults.error()).splitlines()
    assert lines[0] == "a.csv: 31 faults"
    assert lines[1] == "  1. bad 0."
    assert lines[20] == "  20. bad 19."
    assert lines[-1] == "  and 11 more"
    assert len(lines) == 22


def test_suggest() -> None:
    assert suggest("Temp", ["temp", "wind"]) == "Did you mean 'temp'?"
    assert suggest("xyz", [f"c{k}" for k in range(100_000)]).endswith("(100000 columns).")
