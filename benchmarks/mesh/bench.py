"""Starts every scenario, drives them turn by turn, and keeps what was measured.

Two cores: the processor has one for itself; Envoy, the upstream and the load generator share the other. Turns of all
scenarios are interleaved and their order changes every round, so that a slow moment of the machine hits all alike.
"""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.mesh import load
from benchmarks.mesh.load import Workload
from benchmarks.mesh.process import Process
from benchmarks.mesh.processes import OTHER_CORE, PROCESSOR_CORE, SLOW_START, START, get, listens, start_envoy, wait
from benchmarks.mesh.scenarios import Scenario
from extproc.gateway.free_ports import free_addresses
from extproc.render.envoy.envoy_options import EnvoyOptions


class Turn(msgspec.Struct, frozen=True):
    """One turn of one scenario with one workload. CPU in µs per request, latencies in µs."""

    round: int
    server_cpu: float
    envoy_cpu: float
    rate: float
    p50: float
    p99: float
    errors: int


class RunningScenario:
    """A scenario that runs: its Envoy and its processors."""

    def __init__(
        self, scenario: Scenario, stack: ExitStack, directory: Path, upstream: str, under: Sequence[str] = ()
    ) -> None:
        """``under``: the command of a tool that runs its Envoy."""
        directory.mkdir()
        policy = directory / "policy.yaml"
        policy.write_text(scenario.policy(upstream))
        self.scenario = scenario
        self.processors: list[Process] = []
        self.addresses: list[str] = []
        if scenario.processor is not None:
            for n in range(scenario.processors):
                socket = f"unix://{directory / f'{n}.sock'}"
                address = socket if scenario.listens == "socket" else free_addresses(1)[0]
                command = scenario.processor(policy, address)
                process = stack.enter_context(Process(command, PROCESSOR_CORE, directory / f"processor-{n}.log"))
                wait(lambda where=address: listens(where), process)  # type: ignore[misc]
                self.addresses.append(address)
                self.processors.append(process)
        options = EnvoyOptions(
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            processors=tuple(self.addresses or ["127.0.0.1:9"]),
            access_log="",
            fail_open=False,  # what the processor did not decide is an error
        )
        document = scenario.document(options, upstream)
        self.envoy, self.port, self._admin = start_envoy(stack, directory, document, under)
        try:
            wait(self._answers, self.envoy, SLOW_START if under else START)
        except RuntimeError as error:
            raise RuntimeError(f"{scenario.name}: no request was let through, and decided: {error}") from error

    def _answers(self) -> bool:
        """Requests come back, and where there is a processor it has its say."""
        answer = ask(self.port, Workload("probe", 512, 1))
        if answer is None or answer.status != 200:
            return False
        if self.scenario.processor is None:
            return True
        if self.scenario.decides:
            return answer.getheader("x-model-version") == "v1"
        stats = get(self._admin, "/stats?format=json&filter=ext_proc.*stream_msgs_received").get("stats", [])
        return any(one.get("value", 0) for one in stats)

    def turn(self, number: int, workload: Workload, lua: Path, seconds: float) -> Turn:
        """One measurement."""
        processes = (self.envoy, *self.processors)
        run = load.run(workload, lua, self.port, seconds, OTHER_CORE, lambda: [p.cpu_seconds() for p in processes])
        spent = [1e6 * cpu / max(1, run.requests) for cpu in run.spent]
        rate = run.requests / run.seconds
        return Turn(number, sum(spent[1:]), spent[0], rate, run.p50, run.p99, run.errors)


def ask(port: int, workload: Workload) -> http.client.HTTPResponse | None:
    """One request; None where nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", workload.path, workload.payload(), workload.headers)
        response = connection.getresponse()
        response.read()
    except OSError:
        return None
    else:
        return response
    finally:
        connection.close()


def measure(
    standing: Sequence[RunningScenario],
    workloads: Sequence[Workload],
    rounds: int,
    seconds: float,
    directory: Path,
    progress: Callable[[str], None],
) -> dict[tuple[str, str], list[Turn]]:
    """All turns by (scenario, workload), in the order of both."""
    scripts = {workload.name: load.script(workload, directory) for workload in workloads}
    cells = [(s, w) for s in standing for w in workloads if s.scenario.does(w)]
    found: dict[tuple[str, str], list[Turn]] = {(s.scenario.name, w.name): [] for s, w in cells}
    for number in range(rounds):
        # Within a workload in another order each round; workload by workload, so that ratios compare neighbours.
        for workload in workloads:
            row = [s for s, w in cells if w is workload]
            random.shuffle(row)
            for one in row:
                progress(f"{workload.name}: {one.scenario.name}")
                turn = one.turn(number, workload, scripts[workload.name], workload.seconds or seconds)
                found[one.scenario.name, workload.name].append(turn)
    return found


class Cell(msgspec.Struct, frozen=True):
    """What a scenario's turns with one workload come to: medians, and ranges of the CPU."""

    server_cpu: float
    server_cpu_range: tuple[float, float]
    envoy_cpu: float
    rate: float
    p50: float
    p99: float
    added_p50: float
    """Over the baseline, median of the differences within a round."""
    added_p99: float
    errors: int


def summarize(turns: dict[tuple[str, str], list[Turn]], baseline: str) -> dict[str, dict[str, Cell]]:
    """By workload, then by scenario."""
    found: dict[str, dict[str, Cell]] = {}
    # The first round's order is as good as any other; names make it the same every time.
    for (scenario, workload), mine in sorted(turns.items(), key=lambda cell: (cell[0][0] != baseline, cell[0][0])):
        base = {turn.round: turn for turn in turns[baseline, workload]}
        cpus = [turn.server_cpu for turn in mine]
        found.setdefault(workload, {})[scenario] = Cell(
            median(cpus),
            (min(cpus), max(cpus)),
            median(turn.envoy_cpu for turn in mine),
            median(turn.rate for turn in mine),
            median(turn.p50 for turn in mine),
            median(turn.p99 for turn in mine),
            median(turn.p50 - base[turn.round].p50 for turn in mine),
            median(turn.p99 - base[turn.round].p99 for turn in mine),
            sum(turn.errors for turn in mine),
        )
    return found


def ratio(turns: dict[tuple[str, str], list[Turn]], workload: str, one: str, other: str) -> float | None:
    """Server CPU of ``one`` by that of ``other``: the median of the ratios within a round; None if one is missing."""
    mine, theirs = turns.get((one, workload)), turns.get((other, workload))
    if not mine or not theirs:
        return None
    by_round = {turn.round: turn.server_cpu for turn in theirs}
    return median(turn.server_cpu / by_round[turn.round] for turn in mine if by_round.get(turn.round))


def added_ratio(
    turns: dict[tuple[str, str], list[Turn]], workload: str, one: str, other: str, baseline: str
) -> float | None:
    """The same of what they add to the baseline's median latency; None also where the other adds nothing."""
    mine, theirs, base = (
        {turn.round: turn.p50 for turn in turns.get((name, workload), ())} for name in (one, other, baseline)
    )
    compared = [(mine[number] - base[number], theirs[number] - base[number]) for number in mine if number in theirs]
    found = [ours / others for ours, others in compared if others > 0]
    return median(found) if found else None
