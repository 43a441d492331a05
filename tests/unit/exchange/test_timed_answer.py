"""From an answer and its exchange to what was observed: labels, times, counts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.answers import AnswerReader, answer_reader
from extproc.exchange.notes import ObservedPick
from extproc.exchange.timed_answer import ObservedExchange, TimedAnswer, observed
from extproc.headers import Headers
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.picking import Picking
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

SNAPSHOT = Snapshot(
    (
        Policy(
            "llama",
            models=("llama-*",),
            versions=(Version("v1"), Version("v2")),
            gpu=Requirement(architecture="hopper"),
        ),
        Policy("other-owner", models=("mistral",)),
    ),
    (GpuPool("west", Gpu(architecture="ada")),),
)
ROUTED = {"api": "openai", "model": "llama-3", "policy": "llama", "version": "v1", "gpu_pool": "west"}
TOKEN = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
near: Any = pytest.approx


def exchange(code: str = "200", **metadata: str) -> ObservedExchange:
    return ObservedExchange(SNAPSHOT, metadata or ROUTED, code, "caller", "00-1")


@pytest.mark.parametrize(
    ("picked", "served", "outcome"),
    [
        ("10.0.0.1:80,10.0.0.2:80", "10.0.0.1:80", "picked"),
        ("10.0.0.1:80,10.0.0.2:80", "10.0.0.2:80", "fallback"),
        ("10.0.0.1:80", "10.0.0.3:80", "other"),
        ("10.0.0.1:80", "", ""),
        ("x" * 100, "y" * 100, "other"),
    ],
)
def test_a_pick_of_a_policy_that_picks(picked: str, served: str, outcome: str) -> None:
    (llama, other), pools = SNAPSHOT.policies, SNAPSHOT.pools
    picking = Snapshot((msgspec.structs.replace(llama, picking=Picking("least-loaded")), other), pools)
    told = msgspec.structs.replace(exchange(), picked=picked, served=served)
    answer = TimedAnswer(None, 10.0, None, None, 12.5)
    pick = ObservedPick("least-loaded", picked.partition(",")[0][:64], served[:64], outcome)
    assert observed(msgspec.structs.replace(told, snapshot=picking), answer).pick == pick
    assert observed(told, answer).pick is None, "the policy picks no servers any more"
    assert observed(msgspec.structs.replace(told, snapshot=picking, picked=""), answer).pick is None


def reader(*pieces: bytes, kind: str = "text/event-stream", operation: str = "chat.completions") -> AnswerReader:
    found = answer_reader("openai", operation, Headers.of([("content-type", kind)]))
    assert found is not None
    for piece in pieces:
        found.feed(piece)
    found.end()
    return found


def usage(output: int) -> bytes:
    return b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}\n\n' % output


def test_an_answer_that_was_not_read() -> None:
    found = observed(exchange(""), TimedAnswer(None, 10.0, None, None, 12.5, "client_left"))
    assert (found.model, found.version, found.gpu_pool, found.api, found.policy) == (
        *("llama-*", "v1", "west", "openai", "llama"),
    )
    assert (found.code, found.seconds, found.error) == ("0", 2.5, "client_left")
    assert (found.caller, found.traceparent, found.asked) == ("caller", "00-1", "llama-3")
    assert (found.first_token, found.per_token, found.input_tokens, found.output_tokens) == (None,) * 4
    assert (found.streamed, found.estimated) == (False, False)
    assert (found.accounted, found.request_id, found.share) == (False, "", 1.0)


@pytest.mark.parametrize("kind", [ObservedExchange, TimedAnswer])
def test_an_answer_does_not_change(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize(("started", "ended"), [(None, 2.0), (1.0, None), (None, None)])
def test_without_a_beginning_or_an_end_there_is_no_duration(started: float | None, ended: float | None) -> None:
    assert observed(exchange(), TimedAnswer(None, started, None, None, ended)).seconds is None


@pytest.mark.parametrize(
    ("output", "first", "last", "pace"),
    [
        (5, 11.0, 13.0, 0.5),
        (2, 11.0, 13.0, 2.0),
        (1, 11.0, 13.0, None),
        (5, 11.0, 11.0, None),
        (5, None, None, None),
        (5, 11.0, None, None),
    ],
)
def test_times_of_tokens(output: int, first: float | None, last: float | None, pace: float | None) -> None:
    found = observed(exchange(), TimedAnswer(reader(TOKEN, usage(output)), 10.0, first, last, 14.0))
    assert found.per_token == (None if pace is None else near(pace))
    assert found.first_token == (None if first is None else 1.0)
    assert (found.input_tokens, found.output_tokens, found.estimated, found.streamed) == (9, output, False, True)


def test_without_a_beginning_there_is_a_pace_and_no_first_token() -> None:
    found = observed(exchange(), TimedAnswer(reader(TOKEN, usage(3)), None, 11.0, 13.0, 14.0))
    assert (found.first_token, found.per_token, found.seconds) == (None, 1.0, None)


@pytest.mark.parametrize(
    ("pieces", "output", "estimated"),
    [
        ((TOKEN,), 1, True),
        ((TOKEN, TOKEN), 2, True),
        ((TOKEN, TOKEN, usage(0)), 2, True),
        ((TOKEN, TOKEN, usage(7)), 7, False),
    ],
)
def test_events_count_where_no_tokens_do(pieces: tuple[bytes, ...], output: int, estimated: bool) -> None:
    found = observed(exchange(), TimedAnswer(reader(*pieces), 10.0, 11.0, 12.0, 12.0))
    assert (found.output_tokens, found.estimated) == (output, estimated)


def test_without_output_nothing_is_estimated() -> None:
    found = observed(exchange(), TimedAnswer(reader(usage(0)), 10.0, None, None, 12.0))
    assert (found.output_tokens, found.estimated) == (0, False)
    found = observed(exchange(), TimedAnswer(reader(usage(0)), 10.0, 11.0, 12.0, 12.0))
    assert found.per_token is None


def test_pieces_of_sound_are_no_tokens() -> None:
    sound = reader(b"\xff\xfb", b"\xff\xfb", kind="audio/mpeg", operation="audio.speech")
    found = observed(exchange(), TimedAnswer(sound, 10.0, 11.0, 12.0, 12.0))
    assert (found.first_token, found.per_token, found.output_tokens, found.estimated) == (1.0, None, None, False)


def test_pieces_of_an_image_are_no_tokens_though_tokens_are_counted() -> None:
    piece = b'data: {"type":"image_generation.partial_image","b64_json":"eA=="}\n\n'
    last = b'data: {"type":"image_generation.completed","usage":{"input_tokens":9,"output_tokens":4}}\n\n'
    image = reader(piece, piece, last, operation="images.generations")
    found = observed(exchange(), TimedAnswer(image, 10.0, 11.0, 12.0, 12.0))
    assert (found.first_token, found.per_token, found.output_tokens, found.estimated) == (1.0, None, 4, False)


def test_a_document_has_counts_and_no_times_of_tokens() -> None:
    text = b'{"choices":[{"message":{}}],"usage":{"prompt_tokens":9,"completion_tokens":4}}'
    found = observed(exchange(), TimedAnswer(reader(text, kind="application/json"), 10.0, 11.0, 12.0, 12.0))
    assert (found.first_token, found.per_token, found.streamed) == (None, None, False)
    assert (found.input_tokens, found.output_tokens, found.estimated) == (9, 4, False)


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ({}, ("other", "none", "none", "none", "")),
        ({"api": "openai"}, ("other", "none", "none", "openai", "")),
        (ROUTED | {"version": ""}, ("llama-*", "none", "west", "openai", "llama")),
        (ROUTED | {"version": "v9"}, ("llama-*", "other", "west", "openai", "llama")),
        (ROUTED | {"gpu_pool": "east"}, ("llama-*", "v1", "other", "openai", "llama")),
        (ROUTED | {"api": "new"}, ("llama-*", "v1", "west", "other", "llama")),
        (ROUTED | {"policy": "gone"}, ("other", "none", "west", "openai", "other")),
        (ROUTED | {"model": "mistral"}, ("other", "v1", "west", "openai", "llama")),
    ],
)
def test_labels_are_texts_of_the_policy(metadata: dict[str, str], labels: tuple[str, ...]) -> None:
    known = ObservedExchange(SNAPSHOT, metadata, "200", "", "")
    found = observed(known, TimedAnswer(None, None, None, None, None))
    assert (found.model, found.version, found.gpu_pool, found.api, found.policy) == labels


@pytest.mark.parametrize(
    ("pool", "policy", "gpu"),
    [("west", "llama", "ada"), ("east", "llama", "hopper"), ("", "llama", "hopper"), ("", "other-owner", "none")],
)
def test_the_type_of_gpu_by_the_pool_else_by_the_policy(pool: str, policy: str, gpu: str) -> None:
    assert exchange(policy=policy, gpu_pool=pool).gpu_type == gpu
    assert exchange(gpu_pool="east").gpu_type == "none"


def test_a_clients_text_is_cut() -> None:
    found = observed(exchange(**ROUTED | {"model": "llama-" + "x" * 300}), TimedAnswer(None, None, None, None, None))
    assert len(found.asked) == 256
