"""TTFT, TPOT and tokens as the processor reports them, through the real Envoy, beside what model servers really did.

Client and model server are measured, on one clock. The processor is a process of its own; what it found of each
exchange is the growth of its metrics. It stands between the two, so a time that it reports is right if it lies between
what the two ends measured: on a busy machine, where a message takes long from one end to the other, these are further
apart. A family passes if the median of its errors, by how much a time is outside, is within 2 ms; more samples are
taken where the first few are not good enough.
"""

from __future__ import annotations

import http.client
import itertools
import math
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc.gateway.envoy_process import Envoy
from extproc.policyfile import loader
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.grpc.served import Served
from tests.waiting import until

from .conftest import Handler, ModelServer
from .schedules import CUT, FAILING, NOISE, SCHEDULES, TOKEN, Schedule, Step

pytestmark = pytest.mark.envoy

WITHIN = 0.002
FEWEST, MOST = 3, 15
"""Samples of a family."""
FIRST, PER_TOKEN = 0.03, 0.008
"""Seconds until the first token, and between two."""
POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: timed}
spec:
  versions: [{name: v1, endpoints: ["UPSTREAM"]}]
  observability: {observe: full}
"""


class Paced:
    """Says what a schedule says, and notes when it said it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.heard = 0.0
        """When the last request had come."""
        self.said: list[float] = []
        """When each token was sent, complete."""

    def pieces(self, *, split: bool) -> Iterator[bytes]:
        """What to send, at the moment when it is to be sent. ``split``: some tokens come in two parts."""
        self.said = []
        self.heard = time.perf_counter()
        for role, data in self.steps:
            if role == TOKEN:
                due = self.heard + FIRST + PER_TOKEN * len(self.said)
                time.sleep(max(0.0, due - time.perf_counter()))
                if split and len(self.said) in (0, 3):
                    yield data[: len(data) // 2]
                    time.sleep(0.003)
                    data = data[len(data) // 2 :]
                self.said.append(time.perf_counter())
            elif role == NOISE:
                time.sleep(0.002)
            yield data

    def over_http(self, schedule: Schedule) -> Callable[[Handler], None]:
        def answer(request: Handler) -> None:
            request.send_response(200)
            request.send_header("content-type", schedule.kind)
            request.send_header("transfer-encoding", "chunked")
            request.end_headers()
            for piece in self.pieces(split=True):
                request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            request.wfile.write(b"0\r\n\r\n")

        return answer


class Rpc(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC server that says what the pace says, whatever it is asked."""

    def __init__(self, paced: Paced) -> None:
        self._paced = paced

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._answer)

    def _answer(self, messages: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        next(messages)
        yield from self._paced.pieces(split=False)


class Mesh:
    """A model server, the processor and Envoy; asks for one answer at a time."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.paced = Paced()
        self.server = stack.enter_context(ModelServer("paced"))
        rpc = grpc.server(stack.enter_context(ThreadPoolExecutor(2)), (Rpc(self.paced),))
        rpc_port = rpc.add_insecure_port("127.0.0.1:0")
        rpc.start()
        stack.callback(lambda: rpc.stop(0).wait())
        path = directory / "policy.yaml"
        path.write_text(POLICY.replace("UPSTREAM", self.server.address))
        self.processor = stack.enter_context(Served(path, sheds=False)).ready()
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(self.processor.address,), access_log=""
        )
        document = bootstrap(loader.load([path]).snapshot, options)
        for cluster in document["static_resources"]["clusters"]:
            if cluster["name"].endswith("#grpc"):
                (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
                endpoint["endpoint"]["address"]["socket_address"]["port_value"] = rpc_port
        self.envoy = stack.enter_context(Envoy(document, directory))
        self.envoy.wait_ready()
        self._http = http.client.HTTPConnection(self.envoy.listen_address, timeout=10)
        self._channel = stack.enter_context(grpc.insecure_channel(self.envoy.listen_address))
        stack.callback(self._http.close)

    def found(self) -> dict[str, float]:
        """Every series of the processor's."""
        samples = (line.rpartition(" ") for line in self.processor.get("/metrics")[1].splitlines())
        return {name: float(value) for name, _, value in samples if not name.startswith("#")}

    def grown(self, before: dict[str, float]) -> dict[str, float]:
        """By how much each series has grown since it was so."""
        return {name: value - before.get(name, 0.0) for name, value in self.found().items()}

    def ask(self, schedule: Schedule) -> tuple[float, list[float]]:
        """One exchange, whose answer must come as it was sent: when it began, and when the client had each token."""
        self.paced.steps = list(schedule.steps)
        got = bytearray()
        arrivals: list[tuple[int, float]] = []
        for piece in self._call(schedule):
            got += piece
            arrivals.append((len(got), time.perf_counter()))
        assert got == b"".join(data for _, data in schedule.steps)
        ends = itertools.accumulate(len(data) for _, data in schedule.steps)
        tokens = [end for end, (role, _) in zip(ends, schedule.steps, strict=True) if role == TOKEN]
        return self._begun, [next(moment for size, moment in arrivals if size >= end) for end in tokens]

    def _call(self, schedule: Schedule) -> Iterator[bytes]:
        """Sends the request; the pieces of its answer."""
        if schedule.grpc:
            call = self._channel.stream_stream(schedule.path)
            self._begun = time.perf_counter()
            yield from call(iter([b"\x0a\x01m"]), timeout=10)
            return
        self.server.then = self.paced.over_http(schedule)
        kind, body = schedule.request
        self._http.connect()
        self._begun = time.perf_counter()
        self._http.request("POST", schedule.path, body, {"content-type": kind})
        answer = self._http.getresponse()
        while piece := answer.read1():
            yield piece
        self._http.close()

    def exchange(self, schedule: Schedule) -> tuple[float, list[float], dict[str, float]]:
        """One exchange: when it began, when the client had each token, and by how much each series grew by it."""
        before = self.found()
        begun, got = self.ask(schedule)

        def counted() -> bool:
            """Both by Envoy's account and by the observer, which come in any order."""
            grown = self.grown(before)
            return all(series(grown, f"inference_{what}_total") for what in ("requests", "observed_requests"))

        until(counted)
        return begun, got, self.grown(before)  # the first reading may have come amid the counting


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with ExitStack() as stack:
        yield Mesh(stack, tmp_path_factory.mktemp("timing"))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_reported_times_are_those_of_the_schedule(mesh: Mesh, schedule: Schedule) -> None:
    first_errors: list[float] = []
    pace_errors: list[float] = []
    estimated = "true" if schedule.used[1] is None else "false"
    paced = schedule.name.partition("/")[2] not in ("images/generations", "audio/speech")
    errors = (first_errors, pace_errors) if paced else (first_errors,)
    while len(first_errors) < MOST and not good(*errors):
        begun, got, grown = mesh.exchange(schedule)
        heard, said = mesh.paced.heard, mesh.paced.said
        assert len(said) == schedule.pieces
        ((labels, first),) = series(grown, "inference_time_to_first_token_seconds_sum")
        assert labels == {"model": "*", "version": "v1", "gpu_pool": "none"}
        first_errors.append(outside(first, said[0] - heard, got[0] - begun))
        told = dict(zip(("input", "output", "cached"), schedule.used, strict=True))
        if told["output"] is None:
            told["output"] = schedule.pieces
        tokens = {(of["type"], of["estimated"]): value for of, value in series(grown, "inference_tokens_total")}
        assert tokens == {
            (kind, estimated if kind == "output" else "false"): count for kind, count in told.items() if count
        }
        assert not series(grown, "inference_errors_total")
        rates = [value for _, value in series(grown, "inference_time_per_output_token_seconds_sum")]
        assert len(rates) <= int(paced)  # none, too, where all tokens have come at once: the machine stood still
        gaps = (told["output"] or 0) - 1
        pace_errors.extend(outside(rate, *((end[-1] - end[0]) / gaps for end in (said, got))) for rate in rates)
    print(f"{schedule.name}: TTFT {spread(first_errors)}, TPOT {spread(pace_errors or [math.inf])}")
    assert good(*errors), errors


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [*((one, "error_in_stream") for one in FAILING), *((one, "cut_short") for one in CUT)],
    ids=lambda value: getattr(value, "name", value),
)
def test_failures_that_no_status_tells_are_counted(mesh: Mesh, schedule: Schedule, reason: str) -> None:
    _, _, grown = mesh.exchange(schedule)
    ((requests, _),) = series(grown, "inference_requests_total")
    assert requests["code"] == "200"
    ((errors, count),) = series(grown, "inference_errors_total")
    assert (errors["reason"], count) == (reason, 1)


@pytest.mark.parametrize(("wait", "code"), [(0.0, "200"), (3.0, "0")], ids=["amid the answer", "before it"])
def test_a_client_that_leaves_is_counted_with_the_time_it_waited(mesh: Mesh, wait: float, code: str) -> None:
    def answer(request: Handler) -> None:
        time.sleep(wait)
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.end_headers()
        for role, data in SCHEDULES[0].steps:
            request.wfile.write(data)
            time.sleep(0.05 if role == TOKEN else 0)

    mesh.server.then = answer
    before = mesh.found()
    host, _, port = mesh.envoy.listen_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        body = b'{"model":"m","stream":true}'
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n" % len(body))
        client.sendall(b"content-type: application/json\r\n\r\n" + body)
        begun = time.perf_counter()
        if wait:
            until(lambda: time.perf_counter() - begun > wait / 10)
        else:
            assert client.recv(9) == b"HTTP/1.1 "
        waited = time.perf_counter() - begun
    until(lambda: series(mesh.grown(before), "inference_errors_total"))
    grown = mesh.grown(before)
    assert [(of["reason"], count) for of, count in series(grown, "inference_errors_total")] == [("client_left", 1)]
    assert [of["code"] for of, _ in series(grown, "inference_requests_total")] == [code]
    ((_, seconds),) = series(grown, "inference_request_duration_seconds_sum")
    assert seconds == pytest.approx(waited, abs=0.15)


def series(found: dict[str, float], name: str) -> list[tuple[dict[str, str], float]]:
    """(labels, growth) of a metric's series that grew."""
    return [
        (dict(pair.split("=") for pair in labels.replace('"', "").rstrip("}").split(",")), value)
        for key, value in found.items()
        for metric, _, labels in (key.partition("{"),)
        if metric == name and value
    ]


def outside(found: float, *measured: float) -> float:
    """By how much a time that was reported is below or above both that client and model server measured."""
    return min(found - min(measured), 0.0) + max(found - max(measured), 0.0)


def good(*errors: list[float]) -> bool:
    """Enough samples, and the median of each kind within bounds."""
    return all(len(few) >= FEWEST and abs(statistics.median(few)) <= WITHIN for few in errors)


def spread(errors: list[float]) -> str:
    middle, least, most = (1000 * found for found in (statistics.median(errors), min(errors), max(errors)))
    return f"{middle:+.2f} ms ({len(errors)}: {least:+.2f} to {most:+.2f})"
