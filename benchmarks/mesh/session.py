"""A whole session: builds what is measured, starts all of it at once, and drives it in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import ours
from benchmarks.mesh import bench
from benchmarks.mesh.load import Workload
from benchmarks.mesh.scenarios import Scenario, build_go
from benchmarks.mesh.upstream import start_upstream


def run(
    choose: Callable[[Path | None], Sequence[Scenario]],
    workloads: Sequence[Workload],
    rounds: int,
    seconds: float,
    console: Console,
) -> tuple[dict[tuple[str, str], list[bench.Turn]], dict[str, float]]:
    """All turns by (scenario, workload), and the processors' memory in MiB after them by scenario.

    ``choose`` gets the Go peer's binary; None where there is none, of which the console is told.
    """
    with TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        directory = Path(name)
        ours.prepare(console)
        console.print("Building the Go peer …", style="dim")
        go = build_go(directory)
        if isinstance(go, str):
            console.print(f"Without the Go peer: {go}")
        upstream = start_upstream(stack, directory / "upstream")
        standing = [
            bench.RunningScenario(s, stack, directory / f"scenario-{n}", upstream)
            for n, s in enumerate(choose(go if isinstance(go, Path) else None))
        ]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            total = rounds * sum(s.scenario.does(w) for s in standing for w in workloads)
            task = progress.add_task("", total=total)

            def tell(text: str) -> None:
                progress.update(task, advance=1, description=text)

            turns = bench.measure(standing, workloads, rounds, seconds, directory, tell)
        memory = {s.scenario.name: sum(p.rss_mib() for p in s.processors) for s in standing if s.processors}
    return turns, memory
