"""`python -m benchmarks.picking`: the same requests to simulated model servers, by each way to pick one of them.

Prints the table of docs/picking.md; with --out it writes picking.json and, where matplotlib is, picking.svg.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeAlias

from benchmarks.picking.simulation import WARM, Simulation, summary
from benchmarks.picking.traffic import LOADS
from extproc.policy.picking import LEAST_LOADED, PREFIX, RANDOM_TWO, ROUND_ROBIN, SESSION, Picking

WAYS = (ROUND_ROBIN, RANDOM_TWO, SESSION, LEAST_LOADED, PREFIX)
SEEDS = (11, 12, 13)
"""None of those by which numbers of the picker's were chosen: these were 1, 2 and 3, with a quarter of the servers."""
Case: TypeAlias = tuple[str, str, int, int]
"""Load, way, seed, and number of processors."""
AT_LEAST = 2.0
"""How many times lower the mean with shared prefixes is to be than by turns."""
WITHIN = 0.03
"""Share by which the mean may be worse where nothing is shared."""


def measure(seconds: float, parts: int, case: Case) -> dict[str, Any]:
    """The figures of one run."""
    name, by, seed, replicas = case
    load = next(load for load in LOADS if load.name == name).part(parts)
    done = Simulation(load, Picking(by=by), seed, replicas).run(seconds)
    found = summary(done, WARM * seconds, seconds)
    return {"load": name, "by": by, "seed": seed, "replicas": replicas, **found}


def of_all_seeds(runs: Sequence[dict[str, Any]], replicas: int) -> list[dict[str, Any]]:
    """By load and way: means, and the median of what each seed says in comparison with round-robin."""
    found = []
    for load in LOADS:
        ours = [run for run in runs if run["load"] == load.name and run["replicas"] == replicas]
        turns = {run["seed"]: run for run in ours if run["by"] == ROUND_ROBIN}
        for by in WAYS:
            mine = [run for run in ours if run["by"] == by and run["seed"] in turns]
            if not mine:
                continue
            row = {key: fmean(run[key] for run in mine) for key in mine[0] if key not in ("load", "by")}
            ratios = {
                f"{key}_ratio": median(turns[run["seed"]][key] / run[key] for run in mine) for key in ("mean", "p99")
            }
            found.append({"load": load.name, "by": by, **row, **ratios})
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """In Markdown: times to first token, and what else there is to know."""
    lines = [
        "| load | by | mean TTFT | p50 | p99 | mean, lower by | p99, lower by | a token | whole | cached | busiest |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    titles = {load.name: load.title for load in LOADS}
    before = ""
    for row in rows:
        title = titles[row["load"]] if row["load"] != before else ""
        before = row["load"]
        times = " | ".join(f"{1000 * row[key]:.0f} ms" for key in ("mean", "p50", "p99"))
        lines.append(
            f"| {title} | {row['by']} | {times} | {row['mean_ratio']:.2f} | {row['p99_ratio']:.2f} "
            f"| {1000 * row['per_token']:.1f} ms | {row['took']:.2f} s | {100 * row['cached']:.0f} % "
            f"| {100 * row['busiest']:.0f} % |"
        )
    return "\n".join(lines)


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Whether ``prefix`` does what it is there for."""
    ratio = {(row["load"], key): row[f"{key}_ratio"] for row in rows if row["by"] == PREFIX for key in ("mean", "p99")}
    aims = (
        (("shared", "mean"), AT_LEAST, f"mean TTFT {AT_LEAST:g} times lower with shared prefixes"),
        (("slow", "p99"), 1.0, "p99 lower with a slow server"),
        (("mixed", "mean"), 1 - WITHIN, "no loss with mixed lengths"),
        (("unique", "mean"), 1 - WITHIN, "no loss without a shared prefix"),
    )
    return [
        f"{what}: {'met' if ratio[key] >= least else 'not met'} ({ratio[key]:.2f})"
        for key, least, what in aims
        if key in ratio
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picking")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each simulation (default: %(default)g)")
    parser.add_argument("--seed", type=int, action="append", help=f"may be repeated (default: {SEEDS})")
    parser.add_argument("--replicas", type=int, default=1, help="processors that share the requests (default: 1)")
    parser.add_argument(
        "--load", choices=[load.name for load in LOADS], action="append", help="only this, may be repeated"
    )
    parser.add_argument("--parts", type=int, default=1, help="only 1/n of the servers and requests (default: 1)")
    parser.add_argument("--by", choices=WAYS, action="append", help="only this way beside round-robin, may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, help="folder for picking.json, which keeps other runs of as long, and picking.svg"
    )
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    ways = [by for by in WAYS if by == ROUND_ROBIN or options.by is None or by in options.by]
    cases = [
        (load, by, seed, options.replicas)
        for load in options.load or [load.name for load in LOADS]
        for seed in options.seed or SEEDS
        for by in ways
    ]
    path = options.out / "picking.json" if options.out else None
    settings = {"seconds": options.seconds, "parts": options.parts}
    known = read_runs(path, settings) if path else {}
    with ProcessPoolExecutor(options.jobs) as pool:
        missing = [case for case in cases if case not in known]
        for case, run in zip(missing, pool.map(partial(measure, options.seconds, options.parts), missing), strict=True):
            known[case] = run
            if path:
                path.write_text(json.dumps({**settings, "runs": list(known.values())}, indent=1) + "\n")
    rows = of_all_seeds([known[case] for case in cases], options.replicas)
    print(table(rows))
    print(*verdicts(rows), sep="\n")
    if options.out and find_spec("matplotlib"):
        from benchmarks.picking.chart import draw

        draw(of_all_seeds(list(known.values()), 1), read_measured(options.out), options.out / "picking.svg")


def read_runs(path: Path, settings: dict[str, float]) -> dict[Case, dict[str, Any]]:
    """What the file has of runs with these settings."""
    found = json.loads(path.read_text()) if path.exists() else {}
    if {key: found.get(key) for key in settings} != settings:
        return {}
    return {(run["load"], run["by"], run["seed"], run["replicas"]): run for run in found["runs"]}


def read_measured(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """What ``benchmarks.picking.live`` wrote there, by load and way."""
    path = folder / "picking-live.json"
    found = json.loads(path.read_text()) if path.exists() else []
    return {(run["load"], run["by"]): run["measured"] for run in found}


if __name__ == "__main__":
    main()
