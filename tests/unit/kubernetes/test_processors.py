"""Which processors are asked, and what becomes of their answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from extproc.admin.server import AdminContent, AdminServer
from extproc.kubernetes.api import Object
from extproc.kubernetes.processors import Processors, ask
from extproc.rollout.evidence import VersionEvidence
from extproc.telemetry.measured_versions import Measured, ProcessEvidence, encode_report
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import RecentTraffic
from extproc.telemetry.tap import OpenTaps

ONE, TWO = (ProcessEvidence(name, {"chat": {"v2": VersionEvidence(3)}}) for name in ("one", "two"))


def served(report: bytes) -> AdminServer:
    recent, taps = RecentTraffic(), OpenTaps()
    content = AdminContent(Metrics, str, dict, recent.report, taps.open, evidence=lambda: report)
    server = AdminServer("127.0.0.1:0", content)
    server.start()
    return server


@pytest.fixture
def servers() -> Iterator[list[AdminServer]]:
    """Of a processor with two workers, of one, and of one of whose workers can't be heard."""
    reports = Measured([ONE, TWO]), Measured([ONE]), Measured([TWO], "worker 2 can't be heard")
    made = [served(encode_report(report)) for report in reports]
    yield made
    for server in made:
        server.stop()


def piece(*ports: int, service: str = "procs", namespace: str = "system", name: str = "http-admin") -> list[Object]:
    """An EndpointSlice for each port."""
    return [
        {
            "metadata": {"namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": name, "port": port}, {"name": "grpc", "port": 1}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": False, "terminating": True}}],
        }
        for port in ports
    ]


def measure(*slices: Object, failure: str = "") -> Measured:
    processors = Processors([("system", "procs")])
    (watch,) = processors.watches
    assert (watch.resource.kind, watch.namespace) == ("EndpointSlice", "system")
    watch.objects = {("system", str(at)): one for at, one in enumerate(slices)}
    watch.failure = failure
    return asyncio.run(processors.measure())


def test_all_are_asked_whatever_their_state_and_no_others(servers: list[AdminServer]) -> None:
    first, second, deaf = (server.port for server in servers)
    others = [*piece(deaf, service="else"), *piece(deaf, namespace="else"), *piece(deaf, name="metrics")]
    found = measure(*piece(first, second), *others)
    assert (sorted(process.process for process in found.processes), found.unheard) == (["one", "one", "two"], "")


def test_who_can_not_be_heard_is_named_beside_what_the_others_tell(servers: list[AdminServer]) -> None:
    first, _, deaf = (server.port for server in servers)
    told = f"of the processor 127.0.0.1:{deaf}, worker 2 can't be heard"
    found = measure(*piece(first, deaf))
    assert (sorted(process.process for process in found.processes), found.unheard) == (["one", "two", "two"], told)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = closed.getsockname()[1]
    found = measure(*piece(gone, first))
    assert found.processes == [ONE, TWO]
    assert found.unheard.startswith(f"the processor 127.0.0.1:{gone} can't be heard: ")
    assert measure(*piece(gone, deaf)).unheard.endswith(", and 1 more")


def test_without_any_nothing_is_known(servers: list[AdminServer]) -> None:
    told = measure(*piece(servers[0].port), failure="403: forbidden")
    assert told == Measured((), "where the processors are is not known: 403: forbidden")
    assert measure().unheard == "no processor is known: the Service system/procs has no endpoint with a port http-admin"


def test_what_is_no_processor(servers: list[AdminServer], monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{servers[0].port}"
    answers: dict[str, tuple[int, str, bytes]] = {"status 503": (503, "", b""), "can't be heard: ": (200, "", b"\xc1")}
    for text, answer in answers.items():
        monkeypatch.setattr(servers[0], "respond", lambda *_, answer=answer: answer)
        told = ask(address)
        assert text in told.unheard
