"""Starts every scenario, drives them turn by turn, and keeps what was measured.

Two cores: the processor has one for itself; Envoy, the upstream and the load generator share the other. Turns of all
scenarios are interleaved and their order changes every round, so that a slow moment of the machine hits all alike.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.mesh import load
from benchmarks.mesh.load import Workload
from benchmarks.mesh.process import Process
from benchmarks.mesh.scenarios import Doc, Scenario
from extproc.gateway.envoy_binary import find_envoy
from extproc.render.envoy.envoy_options import EnvoyOptions, typed

PROCESSOR_CORE, OTHER_CORE = 1, 0


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

    def __init__(self, scenario: Scenario, stack: ExitStack, directory: Path, upstream: str) -> None:
        directory.mkdir()
        policy = directory / "policy.yaml"
        policy.write_text(scenario.policy(upstream))
        sockets = [directory / f"{n}.sock" for n in range(scenario.processors)]
        self.scenario = scenario
        self.processors: list[Process] = []
        self.addresses: list[str] = []
        if scenario.processor is not None:
            for n, path in enumerate(sockets):
                self.addresses.append(f"unix://{path}")
                ours = scenario.processor(policy, self.addresses[-1])
                command = ours if "serve" in ours else scenario.processor(policy, str(path))
                self.processors.append(
                    stack.enter_context(Process(command, PROCESSOR_CORE, directory / f"processor-{n}.log"))
                )
                wait(path.exists, self.processors[-1])
        options = EnvoyOptions(
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            processors=tuple(self.addresses or ["127.0.0.1:9"]),
            access_log="",
        )
        self.envoy, self.port = start_envoy(stack, directory, scenario.document(options, upstream))
        wait(self._answers, self.envoy)

    def _answers(self) -> bool:
        """Requests come back, and where there is a processor it decides them."""
        answer = ask(self.port, Workload("probe", 512, 1))
        if answer is None or answer.status != 200:
            return False
        return self.scenario.processor is None or answer.getheader("x-model-version") == "v1"

    def turn(self, number: int, workload: Workload, lua: Path, seconds: float) -> Turn:
        """One measurement."""
        before = [p.cpu_seconds() for p in (self.envoy, *self.processors)]
        run = load.run(workload, lua, self.port, seconds, OTHER_CORE)
        after = [p.cpu_seconds() for p in (self.envoy, *self.processors)]
        spent = [1e6 * (b - a) / max(1, run.requests) for a, b in zip(before, after, strict=True)]
        rate = run.requests / run.seconds
        return Turn(number, sum(spent[1:]), spent[0], rate, run.p50, run.p99, run.errors)


def start_envoy(stack: ExitStack, directory: Path, document: Doc) -> tuple[Process, int]:
    """An Envoy of one worker, and the port that it took."""
    admin = directory / "admin.txt"
    config = directory / "envoy.json"
    config.write_text(json.dumps(document))
    command = [find_envoy(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    command += ["--admin-address-path", str(admin), "--log-level", "error"]
    envoy = stack.enter_context(Process(command, OTHER_CORE, directory / "envoy.log"))
    ports: list[int] = []

    def listens() -> bool:
        if not admin.exists():
            return False
        connection = http.client.HTTPConnection(admin.read_text().strip(), timeout=5)
        try:
            connection.request("GET", "/listeners?format=json")
            found = json.loads(connection.getresponse().read()).get("listener_statuses", [])
            ports.extend(one["local_address"]["socket_address"]["port_value"] for one in found)
        except OSError:
            return False
        finally:
            connection.close()
        return bool(ports)

    wait(listens, envoy)
    return envoy, ports[0]


def start_upstream(stack: ExitStack, directory: Path) -> str:
    """A model server that costs next to nothing: an Envoy that reads the whole request and says "ok".

    Asked for an answer that takes time, it fetches one from a server that has nothing else to do.
    """
    directory.mkdir()
    slow = stack.enter_context(
        Process([sys.executable, "-m", "benchmarks.mesh.slow"], OTHER_CORE, directory / "slow.log")
    )
    wait(lambda: slow.log.read_text().strip(), slow)
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="upstream",
        route_config={
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "request_body_buffer_limit": 16 << 20,
                    "routes": [
                        {
                            "match": {
                                "prefix": "/",
                                "headers": [
                                    {"name": "x-answer", "string_match": {"safe_regex": {"regex": "whole|streamed"}}}
                                ],
                            },
                            "route": {"cluster": "slow", "timeout": "0s"},
                        },
                        {
                            "match": {"prefix": "/"},
                            "direct_response": {"status": 200, "body": {"inline_string": '{"choices":[]}'}},
                        },
                    ],
                }
            ]
        },
        http_filters=[
            typed("envoy.filters.http.buffer", "extensions.filters.http.buffer.v3.Buffer", max_request_bytes=16 << 20),
            typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"),
        ],
    )
    anywhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    document = {
        "admin": {"address": anywhere},
        "static_resources": {
            "listeners": [{"name": "all", "address": anywhere, "filter_chains": [{"filters": [manager]}]}],
            "clusters": [_cluster("slow", int(slow.log.read_text()))],
        },
    }
    return f"127.0.0.1:{start_envoy(stack, directory, document)[1]}"


def _cluster(name: str, port: int) -> Doc:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def ask(port: int, workload: Workload) -> http.client.HTTPResponse | None:
    """One request; None where nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", workload.path, workload.payload(), {"x-user-id": "ann"})
        response = connection.getresponse()
        response.read()
    except OSError:
        return None
    else:
        return response
    finally:
        connection.close()


def wait(condition: Callable[[], object], process: Process, seconds: float = 20) -> None:
    """Returns as soon as ``condition`` holds. Raises RuntimeError where the process dies or time runs out."""
    deadline = time.monotonic() + seconds
    while not condition():
        process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready in time:\n{process.log.read_text()[-2000:]}")
        time.sleep(0.02)


def measure(
    standing: Sequence[RunningScenario],
    workloads: Sequence[Workload],
    rounds: int,
    seconds: float,
    directory: Path,
    progress: Callable[[str], None],
) -> dict[tuple[str, str], list[Turn]]:
    """All turns by (scenario, workload)."""
    scripts = {workload.name: load.script(workload, directory) for workload in workloads}
    found: dict[tuple[str, str], list[Turn]] = {}
    cells = [(s, w) for w in workloads for s in standing if s.scenario.does(w)]
    for number in range(rounds):
        # Within a workload in another order each round; workload by workload, so that ratios compare neighbours.
        for workload in workloads:
            row = [s for s, w in cells if w is workload]
            random.shuffle(row)
            for one in row:
                progress(f"{workload.name}: {one.scenario.name}")
                turn = one.turn(number, workload, scripts[workload.name], seconds)
                found.setdefault((one.scenario.name, workload.name), []).append(turn)
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
