"""`python -m benchmarks.picking.live`: the simulator's loads in real time, through the real Envoy and processor.

For each load and way to pick: its servers, which behave as the simulated ones (``live_servers``), `extproc up` before
them, and clients that ask what the simulator's ask and when (``live_clients``). ``round-robin`` is Envoy's own, without
picks. Prints what was measured beside what the simulator says of the same load and seed; --out adds it to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from multiprocessing import Manager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import msgspec
import numpy as np

from benchmarks import ours
from benchmarks.machine import processor
from benchmarks.picking.cpu import Usage
from benchmarks.picking.live_clients import Clients
from benchmarks.picking.simulation import WARM, Simulation, summary
from benchmarks.picking.traffic import LOADS
from extproc.gateway.free_ports import free_addresses
from extproc.policy.picking import DEFAULT_INTERVAL, ROUND_ROBIN, STRATEGIES, Picking

SEED = 21
BUSY = 0.7
"""Share of the CPUs up to which a run counts as undisturbed."""
LATE = 0.005
"""Simulated seconds by which at most a hundredth of the steps, and of the requests, may be late in such a run."""
POLICY: dict[str, Any] = {
    "apiVersion": "ai.istio.io/v1alpha1",
    "kind": "ModelInferencePolicy",
    "metadata": {"name": "chat"},
}


class Figures(msgspec.Struct):
    """One run: times in simulated seconds."""

    load: str
    by: str
    seed: int
    seconds: float
    stretch: float
    measured: dict[str, float]
    simulated: dict[str, float]
    failed: dict[str, int]
    picked: float
    """Share of the requests that went where they were to go."""
    cpu: dict[str, float]
    """Share of all CPUs that each process took."""
    others: float
    """That which was taken by what else the machine did."""
    late: dict[str, float]
    """Seconds by which a hundredth of the steps, and of the requests, were late."""

    @property
    def disturbed(self) -> bool:
        """Whether the machine, or what measures, may have made times longer."""
        return sum(self.cpu.values()) + self.others > BUSY or max(self.late.values()) > LATE


def policy(by: str, ports: Sequence[int], stretch: float) -> dict[str, Any]:
    """One model, one version, all servers. Reports are as old as they would be, up to the longest interval there is."""
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    spec = {
        "models": ["*"],
        "sticky": {"header": "x-session"},
        "versions": [{"name": "v1", "endpoints": endpoints}],
    }
    if by == ROUND_ROBIN:
        return POLICY | {"spec": spec | {"loadBalancer": "roundRobin"}}
    interval = f"{min(1000, round(1000 * DEFAULT_INTERVAL * stretch))}ms"
    return POLICY | {"spec": spec | {"picking": {"by": by, "metrics": {"type": "vllm", "interval": interval}}}}


async def start_servers(stack: AsyncExitStack, load: str, stretch: float) -> tuple[Process, list[int]]:
    """The process of a load's servers, and their ports."""
    servers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.picking.live_servers", load, str(stretch)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    stack.push_async_callback(servers.wait)
    stack.callback(kill, servers)
    assert servers.stdout is not None
    return servers, json.loads(await servers.stdout.readline())


def kill(process: Process) -> None:
    """If it is there still."""
    with suppress(ProcessLookupError):
        process.kill()


async def start_gateway(stack: AsyncExitStack, document: object, listen: str, admin: str, *, written: bool) -> Process:
    """`extproc up` with a policy. ``written``: not compiled. Raises ``RuntimeError`` where it does not start."""
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="picking-")))
    (scratch / "policy.yaml").write_text(json.dumps(document))
    words = ["up", "-f", "policy.yaml", "--listen", listen, "--admin", admin, "--access-log", ""]
    up = await asyncio.create_subprocess_exec(
        *ours.command(written=written), *words, cwd=scratch, stderr=subprocess.PIPE
    )
    stack.push_async_callback(up.wait)
    stack.callback(up.terminate)
    assert up.stderr is not None
    said = b""
    while b"an AI gateway on" not in said:
        if not (line := await up.stderr.readline()):
            raise RuntimeError(f"extproc up did not start:\n{said.decode()}")
        said += line
    reading = asyncio.create_task(up.stderr.read())
    stack.callback(reading.cancel)
    return up


class Case(msgspec.Struct, frozen=True):
    """What to run."""

    load: str
    by: str
    seconds: float
    """Simulated ones."""
    stretch: float = 1.0
    """Real seconds of a simulated one."""
    written: bool = False
    """The processor as it is written, not compiled."""


async def measure(case: Case, starting: AbstractContextManager[object]) -> Figures:
    """One run. ``starting``: held while the gateway starts. Raises ``RuntimeError`` where it does not."""
    load_name, by, seconds, stretch = case.load, case.by, case.seconds, case.stretch
    load = next(one for one in LOADS if one.name == load_name)
    async with AsyncExitStack() as stack:
        servers, ports = await start_servers(stack, load_name, stretch)
        assert servers.stdin
        assert servers.stdout
        listen, admin = free_addresses(2)
        with starting:
            up = await start_gateway(stack, policy(by, ports, stretch), listen, admin, written=case.written)
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=1 << 20)
        )
        clients = Clients(f"http://{listen}", stretch, session)
        usage = Usage({"clients": os.getpid(), "model servers": servers.pid, "gateway": up.pid})
        await clients.run(load, seconds, SEED)
        cpu, others = usage.shares()
        async with session.get(f"http://{admin}/metrics") as response:
            page = await response.text()
        servers.stdin.close()  # then they tell
        late = float(await servers.stdout.readline())
    simulated = await asyncio.to_thread(simulate, load_name, by, seconds)
    return Figures(
        load_name,
        by,
        SEED,
        seconds,
        stretch,
        summary(clients.done, WARM * seconds, seconds),
        simulated,
        dict(clients.failed),
        served_as_picked(page),
        cpu,
        others,
        {"steps": late / stretch, "requests": float(np.quantile(clients.late, 0.99)) / stretch},
    )


def simulate(load_name: str, by: str, seconds: float) -> dict[str, float]:
    """What the simulator says of the same."""
    load = next(one for one in LOADS if one.name == load_name)
    return summary(Simulation(load, Picking(by=by), SEED).run(seconds), WARM * seconds, seconds)


def served_as_picked(page: str) -> float:
    """By the processor's metrics page, which knows it of Envoy's access log; 1 where nothing was picked."""
    lines = [line for line in page.splitlines() if line.startswith("inference_picks_served_total{")]
    total = sum(float(line.rpartition(" ")[2]) for line in lines)
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'by="picked"' in line) / total if total else 1.0


def table(found: Sequence[Figures]) -> str:
    """In Markdown: what was measured, and in parentheses what the simulator says."""
    lines = [
        "| load | by | mean TTFT | p99 | mean, lower by | p99, lower by | cached | CPU | |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    titles, before = {load.name: load.title for load in LOADS}, ""
    turns = {one.load: one for one in found if one.by == ROUND_ROBIN}
    for one in found:
        title, before = titles[one.load] if one.load != before else "", one.load
        times = [f"{1000 * one.measured[key]:.0f} ms ({1000 * one.simulated[key]:.0f})" for key in ("mean", "p99")]
        ratios = ["", ""]
        if than := turns.get(one.load):
            ratios = [
                f"{than.measured[key] / one.measured[key]:.2f} ({than.simulated[key] / one.simulated[key]:.2f})"
                for key in ("mean", "p99")
            ]
        cached = f"{100 * one.measured['cached']:.0f} % ({100 * one.simulated['cached']:.0f})"
        busy = f"{100 * sum(one.cpu.values()):.0f} + {100 * one.others:.0f} %"
        remarks = [f"late by {1000 * max(one.late.values()):.0f} ms"] if one.disturbed else []
        remarks += [f"{sum(one.failed.values())} failed"] if one.failed else []
        remarks += [f"{100 * (1 - one.picked):.1f} % not as picked"] if one.picked < 1 else []
        lines.append(f"| {' | '.join((title, one.by, *times, *ratios, cached, busy, ', '.join(remarks)))} |")
    return "\n".join(lines)


def merged(path: Path | None, found: Sequence[Figures]) -> list[Figures]:
    """With those in the file, in the order of loads and ways."""
    kept = msgspec.json.decode(path.read_bytes(), type=list[Figures]) if path and path.exists() else []
    by_case = {(one.load, one.by): one for one in (*kept, *found)}
    cases = [(load.name, by) for load in LOADS for by in reversed(STRATEGIES)]
    return [by_case[case] for case in cases if case in by_case]


def main() -> int:
    """Prints the table. 1 where something did not start, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picking.live")
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated, of each run (default: %(default)g)")
    parser.add_argument(
        "--stretch",
        type=float,
        default=1.0,
        help="real seconds of a simulated one, on slow machines (default: 1)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, for stretched ones (default: 1)")
    parser.add_argument("--written", action="store_true", help="the processor as it is written, not compiled")
    names = [load.name for load in LOADS]
    parser.add_argument("--load", choices=names, action="append", help="only this, may be repeated")
    parser.add_argument("--by", choices=STRATEGIES, action="append", help="only this way, may be repeated")
    parser.add_argument("--out", type=Path, help="folder with picking-live.json: what it has of other runs stays")
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    ways = options.by or tuple(reversed(STRATEGIES))
    settings = options.seconds, options.stretch, options.written
    cases = [Case(load, by, *settings) for load in options.load or names for by in ways]
    found: list[Figures] = []
    problems: list[str] = []
    with ProcessPoolExecutor(options.jobs) as pool, Manager() as manager:
        starting = manager.Lock()  # many at a time would start too slowly
        runs = [pool.submit(run, case, starting) for case in cases]
        for done in as_completed(runs):
            try:
                found.append(done.result())
            except RuntimeError as error:
                problems.append(str(error))
                continue
            print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
            if options.out:
                path = options.out / "picking-live.json"
                path.write_bytes(msgspec.json.format(msgspec.json.encode(merged(path, found))) + b"\n")
    print(table(merged(options.out / "picking-live.json" if options.out else None, found)))
    print(f"{processor()}, {os.cpu_count()} CPUs", *problems, sep="\n")
    return 1 if problems else 0


def run(case: Case, starting: AbstractContextManager[object]) -> Figures:
    """One run, in a process of its own."""
    return asyncio.run(measure(case, starting))


if __name__ == "__main__":
    raise SystemExit(main())
