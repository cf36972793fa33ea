"""Rows of the core's benchmark -> one JSON each in results/. A row that has its JSON is not run again (--again does).

    python bench/core/run.py                      # every row that is missing, then RESULTS.md
    python bench/core/run.py train 'infer-gru-*'  # a kind, a name, or a pattern of names
    python bench/core/run.py --list

Close everything else first: a row is worth what the machine was worth while it ran. Each row runs in its own process.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import measure
from shapes import Row, rows

import report

RESULTS = Path(__file__).resolve().parent / "results"


def chosen(patterns: list[str]) -> list[Row]:
    """The rows that any pattern names, in the order of the tables; no pattern: all."""
    known = rows()
    found: set[str] = set()
    for pattern in patterns or ["*"]:
        fit = [n for n, row in known.items() if pattern in ("all", row.kind) or fnmatch.fnmatchcase(n, pattern)]
        if not fit:
            sys.exit(f"rows: expected a kind, a name or a pattern of names, got {pattern!r}; --list prints the names")
        found.update(fit)
    return [row for name, row in known.items() if name in found]


def check_place(one_cpu: bool) -> None:
    """The core must be there, and two CPUs: without them every figure would be of something else."""
    try:
        from tidegate import native
    except ImportError as error:
        sys.exit(f"the core's benchmark measures the native core, and tidegate.native cannot be imported: {error}")
    try:
        native.require()
    except Exception as error:  # whatever it is: nothing can be measured, and the message says why
        sys.exit(f"the core's benchmark measures the native core, which is missing here: {error}")
    if measure.usable_cpus() < 2 and not one_cpu:
        sys.exit(f"expected 2 CPUs for this process, got {measure.usable_cpus()}: lift taskset or the container's limit")


def run_row(row: Row, effort: measure.Effort) -> dict[str, Any]:
    """The whole record: the peak before and after, the raw figures between, the machine."""
    import torch
    from rows import KINDS

    before, load = measure.peak_gflops(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = KINDS[row.kind](row, effort)
    peaks = {"before": before, "after": measure.peak_gflops()}
    return {
        "row": row.name,
        "kind": row.kind,
        "cell": row.cell,
        **found,
        "peak_gflops": peaks,
        "load_before": load,
        "interop_threads": torch.get_num_interop_threads(),
        "machine": measure.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="kinds, names or patterns; none: all")
    parser.add_argument("--again", action="store_true", help="run rows although their result is there")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSONs (default: beside this file)")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured time of a row, where its pairs allow it (8)")
    parser.add_argument("--pairs", type=int, default=measure.FEWEST_PAIRS, help="fewest pairs (15; fewer only to try it out)")
    parser.add_argument("--one-cpu", action="store_true", help="run with fewer than 2 CPUs, only to try it out")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one row, in this process
    args = parser.parse_args()
    wanted = chosen(args.rows)
    if args.list:
        print("\n".join(row.name for row in wanted))
        return
    check_place(args.one_cpu)
    args.results.mkdir(parents=True, exist_ok=True)
    if args.here:
        write(args.results, run_row(wanted[0], measure.Effort(args.seconds, args.pairs)))
        return
    failed = [row.name for row in wanted if not done(row, args)]
    report.write(args.results, args.results.parent / "RESULTS.md")
    if failed:
        sys.exit(f"no result: {', '.join(failed)}")


def done(row: Row, args: argparse.Namespace) -> bool:
    """Run a row in its own process if its result is missing; whether it has one now."""
    if not args.again and (args.results / f"{row.name}.json").exists():
        return True
    words = [sys.executable, __file__, row.name, "--here", "--results", str(args.results)]
    words += ["--seconds", str(args.seconds), "--pairs", str(args.pairs), *(["--one-cpu"] if args.one_cpu else [])]
    return subprocess.run(words, check=False).returncode == 0


def write(folder: Path, found: dict[str, Any]) -> None:
    """The JSON, whole or not at all, and a line for the one who waits."""
    partial = folder / f"{found['row']}.json.part"
    partial.write_text(json.dumps(found, indent=None, separators=(",", ":")).replace('],"', '],\n"') + "\n")
    partial.replace(folder / f"{found['row']}.json")
    print(f"{found['row']}: {report.line(found)}", flush=True)


if __name__ == "__main__":
    main()
