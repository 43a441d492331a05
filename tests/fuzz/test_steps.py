"""No body and no answer costs more steps than its bytes allow, however it is made and in whatever pieces it comes.

Steps are counted (``steps``), not timed: 100,000 of them are about 5 ms. What libraries do in C is bounded by what they
are given and give back, which is counted as well.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.answers import answer_reader
from extproc.answers.wire import answer_coding
from extproc.answers.wire.decoder import MalformedAnswer
from extproc.bodies import content_coding
from extproc.envoy.actions import Reject
from extproc.exchange.notes import Action, Unmatched
from extproc.headers import Headers
from tests.fuzz import slow_answers, slow_requests
from tests.fuzz.slow_answers import ANSWERS, frame
from tests.fuzz.slow_requests import CODINGS, LIMIT, REQUESTS, Request, framed
from tests.fuzz.steps import steps

pytestmark = pytest.mark.skipif(
    "EXTPROC_TEST_COMPILED" in os.environ, reason="steps are those of Python's interpreter, and compiled code has none"
)

BODY, PIECE = 100_000, 150
"""Steps of a body, whatever its size, and more for every piece in which it comes."""
BYTES = 8
"""Bytes for which there may be one more."""
EVENT = 160
"""Steps for a byte of a piece, as far as that is less: an event may take three bytes, in a message of SageMaker's."""
LINE = 16
"""Steps for a byte that was packed."""
DENSE, PACKED = 16, 36
"""Steps for each byte of an answer whose events are as short as they may be, and of one that is compressed."""
SIZE = 65_536

some_pieces = st.sampled_from((0, 1, 2, 7, 100, 1000, 16_384))


def allowed(size: int, piece: int) -> int:
    return BODY + size // BYTES + PIECE * (size // piece + 1 if piece else 1)


def allowed_in_pieces(answer: slow_answers.Answer, piece: int) -> int:
    """Of an answer, which may go on for hours, each piece has its bound, and what all of it unpacks to another."""
    size = len(answer.body)
    piece = max(1, min(piece or size, size))
    whole = (PIECE + min(BODY + piece // BYTES, EVENT * piece)) * (size // piece + 1)
    packed = "content-encoding" in dict(answer.headers)
    free = answer_coding.FREE * (size // piece + 1)
    return whole + LINE * (free + answer_coding.RATIO * size) if packed else whole


@pytest.mark.parametrize("name", REQUESTS)
def test_a_body_of_64_kib(name: str) -> None:
    request = REQUESTS[name](SIZE)
    assert steps(lambda: slow_requests.play(request)) <= allowed(len(request.body), 0)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_64_kib_in_one_piece(name: str) -> None:
    answer = ANSWERS[name](SIZE)
    assert steps(lambda: slow_answers.play(answer)) <= allowed(len(answer.body), 0)


@pytest.mark.parametrize("name", [name for name in REQUESTS if "," in name and "zip" not in name])
def test_eight_times_the_bytes_take_no_more_than_their_share(name: str) -> None:
    request = REQUESTS[name](8 * SIZE)
    assert steps(lambda: slow_requests.play(request)) <= allowed(len(request.body), 0)


@settings(max_examples=60)
@given(st.sampled_from(list(REQUESTS)), st.integers(1, 6000), some_pieces)
def test_any_body_in_any_pieces(name: str, size: int, piece: int) -> None:
    request = REQUESTS[name](size)
    assert steps(lambda: slow_requests.play(request, piece)) <= allowed(len(request.body), piece)


@settings(max_examples=60)
@given(st.sampled_from(list(ANSWERS)), st.integers(1, 6000), some_pieces)
def test_any_answer_in_any_pieces(name: str, size: int, piece: int) -> None:
    answer = ANSWERS[name](size)
    assert steps(lambda: slow_answers.play(answer, piece)) <= allowed_in_pieces(answer, piece)


@pytest.mark.parametrize("name", [name for name in ANSWERS if ", dense, " in name or ", dense bodies, " in name])
def test_an_answer_that_goes_on_takes_no_more_than_its_bytes_allow(name: str) -> None:
    half, whole = ANSWERS[name](SIZE // 2), ANSWERS[name](SIZE)
    more = steps(lambda: slow_answers.play(whole, 1000)) - steps(lambda: slow_answers.play(half, 1000))
    assert more <= (PACKED if slow_answers.is_packed(whole) else DENSE) * SIZE // 2


SERVED = {
    "Cohere": ("cohere", "chat", "", b'{"is_finished":false,"event_type":"text-generation","text":" a"}\n'),
    "Ollama": (
        "ollama",
        "generate",
        "",
        b'{"model":"m","created_at":"2025-06-15T12:00:00Z","response":"a","done":false}\n',
    ),
    "OpenAI": (
        "openai",
        "completions",
        "",
        b'data: {"id":"cmpl-1","created":1750000000,"choices":[{"text":" a"}]}\n\n',
    ),
    "TGI": (
        "generate",
        "generate_stream",
        "",
        b'data:{"token":{"id":1,"text":" a","logprob":-0.1},"details":null}\n\n',
    ),
    "vLLM": ("vllm", "generate", "", framed(slow_answers.CHUNK)),
    "vLLM, compressed": ("vllm", "generate", "gzip", framed(gzip.compress(slow_answers.CHUNK), packed=True)),
}
"""Events of one token, as short as those of servers are."""


@pytest.mark.parametrize("piece", [1, 20, 16_384])
@pytest.mark.parametrize("name", SERVED)
def test_what_servers_write_is_read_to_its_end(name: str, piece: int) -> None:
    """Token by token, some at once, or as much as Envoy reads at once, for 50,000 tokens."""
    api, operation, coding, event = SERVED[name]
    kind = "application/grpc" if api == "vllm" else "application/x-ndjson"
    found = answer_reader(api, operation, Headers.of([("content-type", kind), ("grpc-encoding", coding)]))
    assert found is not None
    size = piece if piece == 16_384 else piece * len(event)
    text = event * 50_000
    for at in range(0, len(text), size):
        found.feed(text[at : at + size])
    assert (found.malformed, found.state.output_events) == (False, 50_000)


class Counted:
    """The decoders of content codings, and the bytes that they took and gave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moved = 0
        for name, decoder in list(content_coding._DECODERS.items()):
            monkeypatch.setitem(content_coding._DECODERS, name, self._counting(decoder))

    def _counting(self, decoder: Callable[[bytes, int], bytes]) -> Callable[[bytes, int], bytes]:
        def counting(body: bytes, limit: int) -> bytes:
            found = decoder(body, limit)
            self.moved += len(body) + len(found)
            return found

        return counting


@pytest.mark.parametrize("name", [name for name in REQUESTS if "zip" in name or name.endswith(tuple(CODINGS))])
def test_what_codings_give_is_in_proportion_to_what_comes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    for size in (300, SIZE):
        request = REQUESTS[name](size)
        counted.moved = 0
        slow_requests.play(request)
        # Twice, as codings may be stacked; brotli's library gives up to twice what it is asked for.
        assert counted.moved <= 4 * content_coding.unpacked_limit(len(request.body), LIMIT) + len(request.body)


@pytest.mark.parametrize(
    "name", [name for name in ANSWERS if "dense" not in name and "content-encoding" in dict(ANSWERS[name](100).headers)]
)
def test_so_is_what_a_piece_of_an_answer_unpacks_to(name: str) -> None:
    answer = ANSWERS[name](SIZE)
    undo = answer_coding.decompressor(dict(answer.headers)["content-encoding"])
    assert undo is not None
    try:
        assert len(undo(answer.body)) <= answer_coding.max_unpacked(len(answer.body))
    except MalformedAnswer:
        assert len(answer.body) < SIZE


def told(actions: list[Action]) -> str:
    """Why a request was not routed."""
    for action in actions:
        match action:
            case Unmatched(reason):
                return reason
            case Reject(status, code):
                return f"{status} {code}"
    return ""


BACKSLASHES = slow_requests.FORMS["names of escaped backslashes"](8_050_000)
TOO_LARGE = "413 request_too_large"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Request(slow_requests.SPEECH, slow_requests.FORM, BACKSLASHES), "bad_multipart"),
        (
            Request(
                slow_requests.SPEECH,
                (*slow_requests.FORM, ("content-encoding", "gzip, gzip")),
                gzip.compress(gzip.compress(BACKSLASHES)),
            ),
            TOO_LARGE,
        ),
        (REQUESTS["coding, gzip in gzip"](0), TOO_LARGE),
        (REQUESTS["coding, a window of brotli"](0), TOO_LARGE),
        (REQUESTS["grpc, fields"](SIZE), "bad_grpc"),
        (REQUESTS["json, members with escapes"](SIZE), "bad_json"),
        (REQUESTS["rpc, arrays"](8 << 20), "bad_json"),
    ],
    ids=["names of forms", "of 258 bytes", "gzip in gzip", "brotli", "fields", "members", "calls"],
)
def test_what_held_the_engine_is_counted_or_refused(request_: Request, why: str) -> None:
    assert told(slow_requests.play(request_)) == why
    assert steps(lambda: slow_requests.play(request_)) <= allowed(len(request_.body), 0)


def test_what_is_no_attack_is_read_as_before() -> None:
    parts = b"".join(slow_requests.NAMED % (b"image%d" % n) for n in range(100))
    form = parts + slow_requests.NAMED % b"model" + b"--B--\r\n"
    assert told(slow_requests.play(Request(slow_requests.SPEECH, slow_requests.FORM, form))) == ""
    message = b"\x0a\1m" + b"\x22\x04\x0a\x02ab" * 300
    assert told(slow_requests.play(Request(slow_requests.INFER, slow_requests.GRPC, framed(message)))) == ""
    chat = b'{"model":"m","messages":[' + b'{"role":"user","content":"h\\u00e4lt\\n"},' * 2000 + b"{}]}"
    for name, pack in CODINGS.items():
        request = Request(slow_requests.CHAT, (("content-encoding", name),), pack(chat))
        assert told(slow_requests.play(request)) == ""


def test_a_session_is_left_where_it_floods() -> None:
    def heard(count: int) -> bool:
        body = frame(b'{"type":"error"}') * count
        return slow_answers.play(slow_answers.Answer("openai", "realtime", (), body))

    assert heard(400)
    assert not heard(600)


def test_steps_are_counted_anew_each_time() -> None:
    request = REQUESTS["json, a string"](1000)
    assert steps(lambda: slow_requests.play(request)) == steps(lambda: slow_requests.play(request)) > 50
    assert steps(lambda: None) < 5
