"""Answers that nobody observes: Envoy opens no stream for them, and what the others tell stands for all."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any

import pytest

from extproc.exchange import sampling
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.serve import servicer
from tests.waiting import until

from .conftest import Gateway, Handler, ModelServer, Processor, say

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]

INPUT, OUTPUT = 20, 7
"""Tokens of each answer."""
STREAM = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\n'
    b"data: [DONE]\n\n" % (INPUT, OUTPUT)
)
BROKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"error":{"message":"out of memory"}}\n\n'


@pytest.fixture(autouse=True)
def _watched_however_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the processor's loop lags, and it stops watching: what is counted here is what was drawn."""
    monkeypatch.setattr(servicer, "BUSY_AFTER", inf)
    monkeypatch.setattr(servicer, "OVERLOADED_AFTER", inf)


def policy(*endpoints: str, **more: Any) -> Snapshot:
    return Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, endpoints),), **more),))


class Seen:
    """What the processor has counted."""

    def __init__(self, processor: Processor) -> None:
        self._metrics = processor.metrics

    def sum(self, name: str, *values: str) -> float:
        """Of the series that have all these values among their labels."""
        counts = self._metrics._counters[name]
        return sum(count for labels, count in list(counts.items()) if set(values) <= set(labels))

    @property
    def first_tokens(self) -> float:
        times = self._metrics._histograms["inference_time_to_first_token_seconds"]
        return sum(sum(histogram.counts) for histogram in times.values())

    @property
    def streams(self) -> int:
        """Of the observer."""
        return self._messages("response_headers")

    @property
    def bodies(self) -> int:
        """Pieces of answers that came to it."""
        return self._messages("response_body")

    def _messages(self, phase: str) -> int:
        phases = self._metrics._histograms["extproc_message_duration_seconds"]
        return round(sum(sum(phases[key].counts) for key in phases if key == (phase,)))


def ask(front: Gateway, count: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        statuses = {answer.status for answer in pool.map(lambda _: front.ask("m"), range(count))}
    assert statuses == {200}


def begun(servers: Servers, body: bytes = STREAM) -> ModelServer:
    (server,) = servers("v1")
    server.then = say(body, content_type="text/event-stream")
    return server


def test_a_share_is_observed_and_stands_for_all(servers: Servers, processor: Process, gateway: Start) -> None:
    """Sums are estimates of the sums of all: of 600 answers, a quarter of them read, within four deviations."""
    random.seed(4)  # the processor draws by it
    snapshot = policy(begun(servers).address, sampling=0.25)
    running = processor(snapshot)
    found = Seen(running)
    ask(gateway(snapshot, running.address), 600)
    until(lambda: found.sum("inference_requests") == 600 and found.sum("inference_observed_requests") == found.streams)
    assert found.sum("inference_requests", "m", "v1", "200") == 600
    assert found.sum("extproc_counted_requests", "access_log") == 600
    assert 108 <= found.streams <= 192
    assert found.sum("inference_tokens", "input", "true") == 4 * INPUT * found.streams
    assert found.sum("inference_tokens", "output", "true") == pytest.approx(600 * OUTPUT, rel=0.28)
    assert found.sum("inference_tokens", "false") == 0
    assert found.first_tokens == 4 * found.streams


def test_by_default_no_more_is_observed_than_percentiles_need(
    servers: Servers, processor: Process, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "FULL_RATE", 1)  # less than any machine gives
    snapshot = policy(begun(servers).address)
    running = processor(snapshot)
    found = Seen(running)
    ask(gateway(snapshot, running.address), 200)
    until(lambda: found.sum("inference_requests") == 200 and found.sum("inference_observed_requests") == found.streams)
    assert 2 <= found.streams <= 150
    assert found.sum("inference_tokens", "input", "false") >= INPUT, "the first ones are all observed"
    assert found.sum("inference_tokens", "input", "true") > 0
    assert found.first_tokens > found.streams


def test_few_answers_are_all_observed(servers: Servers, processor: Process, gateway: Start) -> None:
    snapshot = policy(begun(servers).address)
    running = processor(snapshot)
    found = Seen(running)
    ask(gateway(snapshot, running.address), sampling.FULL_RATE)
    until(lambda: found.sum("inference_requests") == found.sum("inference_observed_requests") == sampling.FULL_RATE)
    assert found.streams == found.first_tokens == sampling.FULL_RATE
    assert found.sum("inference_tokens", "input", "false") == INPUT * sampling.FULL_RATE
    assert found.sum("inference_tokens", "true") == 0


def test_all_are_observed_where_the_policy_says_so(
    servers: Servers, processor: Process, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "FULL_RATE", 1)
    snapshot = policy(begun(servers).address, sampling=1.0)
    running = processor(snapshot)
    found = Seen(running)
    ask(gateway(snapshot, running.address), 100)
    until(lambda: found.sum("inference_requests") == found.sum("inference_observed_requests") == 100)
    assert found.streams == found.first_tokens == 100
    for kind, tokens in (("input", INPUT), ("output", OUTPUT)):
        assert found.sum("inference_tokens", kind, "false") == 100 * tokens


def test_errors_that_only_answers_tell_of_are_estimated(servers: Servers, processor: Process, gateway: Start) -> None:
    """Otherwise the success of a busy version would be better than that of one that is not."""
    random.seed(4)
    snapshot = policy(begun(servers, BROKEN).address, sampling=0.5)
    running = processor(snapshot)
    found = Seen(running)
    ask(gateway(snapshot, running.address), 200)
    until(lambda: found.sum("inference_requests") == 200 and found.sum("inference_observed_requests") == found.streams)
    assert 71 <= found.streams <= 129
    assert found.sum("inference_errors", "error_in_stream") == 2 * found.streams


FIRST, REST = STREAM[: STREAM.index(b"\n\n") + 2], STREAM[STREAM.index(b"\n\n") + 2 :]
"""The event with the first token, and what follows it."""
CLOSED = "http.aimesh.ext_proc.aimesh_observe.streams_closed"


class Watched:
    """A model server whose streams stop after the first token until it has been seen, and an Envoy in front of it."""

    def __init__(self, servers: Servers, processor: Process, gateway: Start, **policy_fields: Any) -> None:
        (server,) = servers("v1")
        server.then = self._answer
        snapshot = policy(server.address, **policy_fields)
        running = processor(snapshot)
        self.found = Seen(running)
        self.front = gateway(snapshot, running.address)
        self.ends = True
        self.left_when_seen = True
        self._answers = 0

    def ask(self) -> bytes:
        return self.front.post({"model": "m", "messages": [], "stream": True}).body

    def _answer(self, request: Handler) -> None:
        self._answers += 1
        before = self.found.bodies
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.send_header("content-length", str(len(STREAM)))
        request.send_header("connection", "close")
        request.end_headers()
        request.wfile.write(FIRST)
        if self.left_when_seen:
            until(lambda: self.front.envoy.stats(CLOSED).get(CLOSED) == self._answers)
        else:
            until(lambda: self.found.bodies > before)
        if self.ends:
            request.wfile.write(REST)
        request.close_connection = True


def test_many_streams_are_left_at_their_first_token(
    servers: Servers, processor: Process, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envoy sends the observer no more of them, and all of them to the client; its account knows how they end."""
    monkeypatch.setattr(sampling, "END_RATE", 1e-6)
    running = Watched(servers, processor, gateway)
    found, count = running.found, 10
    assert [running.ask() for _ in range(count)] == [STREAM] * count
    until(lambda: found.sum("inference_requests") == count)
    assert found.bodies == found.streams == found.sum("inference_observed_first_tokens") == found.first_tokens == count
    assert (
        found.sum("inference_observed_requests") == found.sum("inference_tokens") == found.sum("inference_errors") == 0
    )
    running.ends = False
    with pytest.raises(http.client.IncompleteRead):
        running.ask()
    until(lambda: found.sum("inference_requests") == count + 1)
    assert found.sum("inference_requests", "m", "v1", "200") == count + 1
    assert found.sum("inference_errors") == found.sum("inference_errors", "upstream_broke_off") == 1
    assert found.sum("extproc_counted_requests", "observer") == found.sum("extproc_errors") == 0


def test_what_a_share_of_streams_tells_at_its_end_stands_for_all(
    servers: Servers, processor: Process, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First tokens of all of them are seen. Of 100 streams some 20 to 30 are read to their ends, within deviations."""
    random.seed(4)  # the processor draws by it
    monkeypatch.setattr(sampling.Rate, "note", lambda _, __: 4 * sampling.END_RATE)
    running = Watched(servers, processor, gateway)
    running.left_when_seen = False
    found, count = running.found, 100
    assert {running.ask() for _ in range(count)} == {STREAM}
    until(lambda: found.sum("inference_requests") == found.first_tokens == count)
    assert found.sum("inference_observed_first_tokens") == found.streams == count
    read = found.sum("inference_tokens", "output", "true") / OUTPUT / 4
    assert 10 <= read <= 45
    assert found.sum("inference_tokens", "input", "true") == 4 * INPUT * read
    assert read <= found.sum("inference_observed_requests")
    assert found.sum("inference_errors") == 0


def _unaccounted(document: dict[str, Any]) -> None:
    """As Envoys were rendered before they had an account for the processor."""
    (listener,) = document["static_resources"]["listeners"]
    for chain in listener["filter_chains"]:
        for each in chain["filters"]:
            manager = each["typed_config"]
            manager["access_log"] = [log for log in manager["access_log"] if "grpc" not in log["name"].lower()]
            filters = manager["http_filters"]
            (at,) = (n for n, one in enumerate(filters) if one["name"] == "aimesh.observe")
            observed = filters[at]["typed_config"]["xds_matcher"]["on_no_match"]["action"]["typed_config"]
            filters[at] = observed["typed_config"]
            del filters[at]["typed_config"]["grpc_service"]["initial_metadata"]


@pytest.mark.parametrize("share", [0.25, None])
def test_without_an_account_all_are_observed(
    share: float | None, servers: Servers, processor: Process, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The observer is all that counts them, whatever the processor draws."""
    monkeypatch.setattr(sampling, "FULL_RATE", 1)
    snapshot = policy(begun(servers).address, sampling=share)
    running = processor(snapshot)
    found = Seen(running)
    ask(gateway(snapshot, running.address, alter=_unaccounted), 60)
    until(lambda: found.sum("extproc_counted_requests", "observer") == 60)
    assert found.sum("inference_requests", "m", "v1", "200") == found.sum("inference_requests") == 60
    assert found.streams == found.first_tokens == 60
    assert found.sum("inference_tokens", "input", "false") == 60 * INPUT
    times = running.metrics._histograms["inference_request_duration_seconds"]
    assert [sum(histogram.counts) for histogram in times.values()] == [60]


def test_what_is_left_out_is_still_accounted_for_as_a_failure(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    """Whose failure it was, Envoy tells of every request, and not of a sample."""

    def hang_up(request: Handler) -> None:
        request.close_connection = True

    (server,) = servers("v1")
    server.then = hang_up
    snapshot = policy(server.address, sampling=0.5)
    running = processor(snapshot)
    found = Seen(running)
    front = gateway(snapshot, running.address)
    assert {front.ask("m").status for _ in range(30)} == {503}
    until(lambda: found.sum("inference_requests", "503") == 30)
    assert found.sum("inference_errors", "upstream_reset") == 30
