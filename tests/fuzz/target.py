"""What is fuzzed: one request, given as a file, through every mode of the stream that serves; and what must hold.

A file reads like a request: a line with method and path, lines of headers, an empty line, the body. Any bytes at all
are such a file; one that begins as HTTP/2 does is a conversation (``conversation``), one with their mark is header
blocks (``blocks``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

from extproc.envoy.actions import BodyEcho, BodyReply, Finish, HeadersReply, Mutation, Reject
from extproc.envoy.codec import encode
from extproc.envoy.events import BodyMode, Event, Protocol, RequestBody, RequestHeaders, RequestTrailers
from extproc.exchange.notes import Action, Fault, Unmatched
from extproc.exchange.route import RouteStream, State
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version
from tests.fuzz import blocks, conversation

CORPUS = Path(__file__).parent / "corpus"

LIMIT = 20_000
RENAMED = "another-model"
PLAIN = Policy("plain", versions=(Version("v1"), Version("v2")), sticky=Sticky(body=("user", "id")), body_limit=LIMIT)
RENAMING = Policy("renaming", versions=(Version("v1", model_rewrite=RENAMED),), body_limit=LIMIT)

STREAMED = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)
BUFFERED = Protocol(BodyMode.BUFFERED)
DUPLEX = Protocol(BodyMode.FULL_DUPLEX_STREAMED)


class Answer:
    """What came of one request: the decision, and the body that goes upstream."""

    def __init__(self, actions: list[Action], pieces: list[bytes], protocol: Protocol) -> None:
        assert actions.count(Finish()) == 1
        assert not [action for action in actions if isinstance(action, Fault)]
        for action in actions:
            if not isinstance(action, Finish | Unmatched | Fault):
                encode(action)  # type: ignore[arg-type]
        replies = [a for a in actions if isinstance(a, HeadersReply | BodyReply) and a.mutation != Mutation()]
        refusals = [a for a in actions if isinstance(a, Reject)]
        reasons = [a.reason for a in actions if isinstance(a, Unmatched)]
        self.refused = bool(refusals)
        self.changes = dict(replies[0].mutation.set) if replies else {}
        length = self.changes.pop("content-length", None)
        removed = set(replies[0].mutation.remove) - {"content-encoding"} if replies else set()
        self.decision = (reasons, [(r.status, r.code) for r in refusals], self.changes, removed)
        if protocol is DUPLEX:
            self.body = b"".join(a.data for a in actions if isinstance(a, BodyEcho))
        else:
            new = [a.body for a in actions if isinstance(a, BodyReply)]
            new += [None] * (len(pieces) - len(new))
            self.body = b"".join(old if now is None else now for old, now in zip(pieces, new, strict=True))
        assert self.refused or length is None or int(length) == len(self.body)


def request(data: bytes) -> tuple[list[tuple[str, str | bytes]], bytes]:
    """(headers with method and path, body) of a file. A length that is not the body's gets no further than Envoy."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, path = first.partition(b" ")
    pairs = (line.partition(b":") for line in lines)
    named = [(name.strip().lower().decode("latin-1"), value.strip()) for name, _, value in pairs]
    honest = [(name, value) for name, value in named if name != "content-length" or value == b"%d" % len(body)]
    return [(":method", method), (":path", path), *honest], body


def ask(policy: Policy, pairs: list[tuple[str, str | bytes]], pieces: list[bytes], protocol: Protocol) -> Answer:
    """One request through a fresh stream."""
    stream = RouteStream(Snapshot((policy,)), b"entropy")
    events: list[Event] = [RequestHeaders(Headers.of(pairs), end_of_stream=False, protocol=protocol)]
    events += [RequestBody(piece) for piece in pieces]
    events += [
        RequestTrailers() if len(pieces) % 2 and protocol is not BUFFERED else RequestBody(b"", end_of_stream=True)
    ]
    actions = [action for event in events for action in stream.receive(event)]
    assert stream.state is State.DONE
    return Answer(actions, [*pieces, b""], protocol)


def split(body: bytes, random: Random) -> Iterator[bytes]:
    """The body in a few pieces, empty ones too."""
    cuts = sorted(random.randrange(len(body) + 1) for _ in range(random.randrange(8)))
    yield from (body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True))


def check(data: bytes) -> None:
    """Nothing raises; every mode and every split give one answer; a new name is the only change, and is read back."""
    if data.startswith(conversation.PREFACE):
        conversation.check(data)
        return
    if data.startswith(blocks.MARK):
        blocks.check(data)
        return
    pairs, body = request(data)
    random = Random(zlib.crc32(data))
    for policy in (PLAIN, RENAMING):
        whole = ask(policy, pairs, [body], STREAMED)
        for protocol in (BUFFERED, STREAMED, DUPLEX):
            pieces = [body] if protocol is BUFFERED else list(split(body, random))
            answer = ask(policy, pairs, pieces, protocol)
            if answer.decision[0] == ["streamed_request"]:
                assert answer.body == body
                continue
            assert answer.decision == whole.decision, (protocol, answer.decision, whole.decision)
            assert answer.refused or answer.body == whole.body
        if policy is PLAIN or "x-model-name" not in whole.changes:
            assert whole.refused or whole.body == body
        elif whole.body != body:
            _names_the_other(pairs, whole.body)


def _names_the_other(pairs: list[tuple[str, str | bytes]], body: bytes) -> None:
    plain = [(name, value) for name, value in pairs if name not in ("content-encoding", "content-length")]
    if len(body) <= LIMIT:
        changes = ask(PLAIN, plain, [body], STREAMED).changes
        assert changes["x-model-name"] == RENAMED, changes
