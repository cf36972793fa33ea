"""The table of the forecasting benchmark, generated from results/*.json. In: the JSONs. Out: RESULTS.md beside this file.

python bench/forecast/report.py
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# Published figures: M4 competition (Makridakis et al. 2020), GluonTS's own evaluations, SegRNN (Lin et al. 2023).
M4 = [
    ("ES-RNN, the competition's winner (published)", "9.328", ".893", ".440", "", "7.93", "", ""),
    ("GluonTS DeepAR (published)", "", "", "", ".0329", "", "", ""),
    ("Naive2 (published)", "18.383", "2.395", "1.000", "", "", "", ""),
]


def results(row: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((HERE / "results").glob(f"{row}-[0-9]*.json"))]


def figure(result: dict[str, Any], method: str, measure: str) -> float | None:
    for line in result["table"]:
        if line["method"] == method:
            value = line.get(measure)
            return None if value is None else float(value)
    return None


def spread(found: list[dict[str, Any]], method: str, measure: str, digits: int) -> str:
    values = [v for r in found if (v := figure(r, method, measure)) is not None]
    if not values:
        return ""
    mean = statistics.mean(values)
    if len(values) == 1 or max(values) - min(values) < 10**-digits / 2:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def m4() -> str:
    measures = [("sMAPE", 3), ("MASE", 3), ("OWA", 4), ("wQL", 4), ("MSIS-95", 2), ("coverage-95", 3)]
    rows = []
    for row, name in (("m4", "tidegate, defaults"), ("m4_ensemble", "tidegate, ensemble=5")):
        found = results(row)
        if found:
            seconds = statistics.mean(r["fit_s"] for r in found)
            rows.append(
                [
                    f"{name}, {len(found)} seed{'s' * (len(found) > 1)}",
                    *(spread(found, "tidegate", m, d) for m, d in measures),
                    f"{seconds:.0f} s",
                ]
            )
    rows += [
        [name, *(spread(results("m4"), name, m, d) for m, d in measures), ""] for name in ("seasonal naive", "naive", "drift")
    ]
    rows += [list(r) for r in M4]
    return "## M4 hourly: 414 series, the last 48 points, `season=24`\n\n" + table(
        ["method", *(m for m, _ in measures), "fit"], rows
    )


def etth1() -> str:
    found = results("etth1")
    rows = (
        [
            [
                f"tidegate, defaults, {len(found)} seeds",
                *(spread(found, "tidegate", m, 4) for m in ("MSE", "MAE")),
                f"{statistics.mean(r['fit_s'] for r in found):.0f} s",
            ]
        ]
        if found
        else []
    )
    rows += [["seasonal naive", *(spread(found, "seasonal naive", m, 3) for m in ("MSE", "MAE")), ""]]
    rows += [
        ["SegRNN, look-back 96 (published)", ".368", ".395", ""],
        ["GRU (SegRNN's paper, look-back 720)", "1.135", ".844", ""],
        ["DeepAR (SegRNN's paper, look-back 720)", "1.097", ".803", ""],
    ]
    head = "## ETTh1: 7 channels, look-back 96, horizon 96, split 8640/2880/2880, standardised, every test window"
    return f"{head}\n\n" + table(["method", "MSE", "MAE", "fit"], rows)


def backtests() -> str:
    rows = []
    for row, name in (("beijing", "beijing_pm25 (gaps, a text covariate)"), ("pjm", "pjm_energy (disorder, double hours)")):
        found = results(row)
        if not found:
            continue
        better = [1 - figure(r, "tidegate", "MASE") / figure(r, "seasonal naive", "MASE") for r in found]  # type: ignore[operator]
        rows.append(
            [
                name,
                spread(found, "tidegate", "MASE", 3),
                spread(found, "seasonal naive", "MASE", 3),
                spread(found, "naive", "MASE", 3),
                f"{100 * statistics.mean(better):.0f} % ({100 * min(better):.0f} to {100 * max(better):.0f})",
                f"{statistics.mean(r['backtest_s'] for r in found):.0f} s",
            ]
        )
    return "## Backtests: 5 windows of 24 hours, trained once before the first cutoff, 3 seeds, MASE\n\n" + table(
        ["data", "tidegate", "seasonal naive", "naive", "better than seasonal naive", "time"], rows
    )


def costs() -> str:
    rows = [_generated(r) for r in results("generated")] + [_overhead(r) for r in results("overhead")]
    rows += [_memory(r) for row in ("memory", "wide") for r in results(row)]
    return "## Time and memory\n\n" + table(["what", "time", "peak memory"], rows)


def _generated(r: dict[str, Any]) -> list[str]:
    time = f"fit {r['fit_s']:.0f} s ({r['steps']} steps), predict all {r['predict_all_s']:.2f} s"
    return ["3,000 generated series x 300 points", time, f"{r['peak_mb']:.0f} MB"]


def _overhead(r: dict[str, Any]) -> list[str]:
    return ["share of the loop outside forward, backward and optimiser", f"{100 * r['outside_share']:.1f} %", ""]


def _memory(r: dict[str, Any]) -> list[str]:
    time = f"fit {r['fit_s']:.0f} s, predict all {r['predict_all_s']:.1f} s"
    above = f"{r['above_data_mb']:.0f} MB above the process that holds the frame of {r['data_mb']:.0f} MB"
    return [f"{r['series']:,} series x {r['points']:,} points, {r['steps']} steps", time, f"{r['peak_mb']:.0f} MB; {above}"]


def machine() -> str:
    seen = {json.dumps(json.loads(p.read_text())["machine"], sort_keys=True) for p in (HERE / "results").glob("*.json")}
    each = [json.loads(text) for text in sorted(seen)]
    lines = [f"- {m['cpu']}, {m['cores']} cores; {m['threads']} threads; torch {m['torch']}; Python {m['python']}" for m in each]
    return "## Machine\n\n" + "\n".join(lines)


def main() -> None:
    head = (
        "# Forecasting benchmark\n\n"
        "Generated by `bench/forecast/report.py` from `results/*.json`, one JSON a row and seed, each made by its own command, "
        "`bench/forecast/run.py ROW --seed N`. Defaults only: what a row says beside the data is its protocol. "
        "Mean (lowest-highest) over the seeds. Training never sees the test rows; decisions 0003, 0004 and 0006 were taken with "
        "test figures of M4 and ETTh1 in view. Times of the rows with 1 thread were taken two rows at a time, beside other work."
    )
    (HERE / "RESULTS.md").write_text("\n\n".join([head, m4(), etth1(), backtests(), costs(), machine()]) + "\n")


if __name__ == "__main__":
    main()
