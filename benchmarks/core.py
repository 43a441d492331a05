"""The cases: one request through the core, without gRPC, and what it is compared with.

What runs is what the server runs between the bytes that gRPC gives and the bytes that it takes. Each call of
a case takes the next of several requests, so that nothing is faster for having been seen a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from time import perf_counter
from typing import TypeVar

import msgspec
from envoy_data_plane.envoy.service.ext_proc.v3 import ProcessingRequest as FullRequest

from benchmarks.requests import MODEL, PIECE, Request, chat, example_snapshot, infer
from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy import codec
from extproc.envoy.actions import Finish, HeadersReply, Reply
from extproc.envoy.events import Event
from extproc.exchange.notes import Action, LoadReport, Note
from extproc.exchange.picks import Picks
from extproc.exchange.route import RouteStream
from extproc.exchange.waiting_pick import WaitingPick
from extproc.headers import MODEL_NAME
from extproc.picking.wanted_endpoints import wanted_endpoints
from extproc.picking.worker_row import WorkerRow
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Snapshot
from extproc.serve.shared_board import SharedBoard

T = TypeVar("T")

ENTROPY = bytes(8)
TARGET_US = 40.0
"""What a 4 KB chat request may cost."""


class Case(msgspec.Struct, frozen=True):
    """Something to time. ``name`` is unique."""

    group: str
    name: str
    run: Callable[[], object]


HEADLINE = "whole"
PARSE = "protobuf parse"
FULL_PARSE = "envoy-data-plane parse"

USERS = range(16)
STRANGERS = 4096
"""More models than anything could keep in mind."""


def cases() -> list[Case]:
    """Everything that is measured, each proven to do its work."""
    one, chats = example_snapshot(), [chat(4096, user=user) for user in USERS]
    buffered = [chat(4096, user=user, mode=pb.ProcessingMode.BUFFERED) for user in USERS]
    strangers = [chat(4096, user=user, model=f"{MODEL}-{user}") for user in range(STRANGERS)]
    events = [[codec.decode(message)[0] for message in request] for request in chats]
    replies = [_replies(_receive(one, request)) for request in events]
    sized = [
        Case("size of the body", f"{label} chat", _whole(one, [chat(size, user=user) for user in USERS]))
        for label, size in (("0.5 KB", 512), ("16 KB", 16 << 10), ("220 KB", 220 << 10))
    ]
    pieces = [chat(220 << 10, piece=PIECE, user=user) for user in USERS]
    return [
        Case("4 KB chat", HEADLINE, _whole(one, chats)),
        Case("4 KB chat", PARSE, _each(_parse, chats)),
        Case("4 KB chat", "decode", _each(_decode, chats)),
        Case("4 KB chat", "decide", _each(partial(_receive, one), events)),
        Case("4 KB chat", "encode", _each(_encode, replies)),
        Case("other requests", "BUFFERED 4 KB chat", _whole(one, buffered)),
        Case("other requests", "OIP, path only", _whole(one, [infer(user=user) for user in USERS])),
        *sized,
        Case("size of the body", "220 KB in 16 KB pieces", _whole(one, pieces)),
        Case("policies", "100, by name", _whole(example_snapshot(100), chats)),
        Case("policies", "100, by glob", _whole(example_snapshot(100, "{}*"), chats)),
        Case("policies", "models never seen", _whole(example_snapshot(1, "{}*"), strangers)),
        *(
            Case("picking", f"{label} chat, one of {servers} by prefix", _picked(one, size, servers))
            for label, size in (("0.5 KB", 512), ("16 KB", 16 << 10))
            for servers in (16, 100)
        ),
        Case("other decoder", FULL_PARSE, _each(_parse_full, chats)),
    ]


def _each(run: Callable[[T], object], inputs: Sequence[T]) -> Callable[[], object]:
    """Runs on the next of ``inputs``, round and round."""
    following = cycle(inputs).__next__
    return lambda: run(following())


def _whole(snapshot: Snapshot, requests: Sequence[Request]) -> Callable[[], object]:
    """The whole way, tried on every request: it must be routed to its model."""
    for request in requests:
        last = pb.ProcessingResponse.FromString(_route(snapshot, request)[-1])
        common = getattr(last, last.WhichOneof("response") or "").response
        routed = {option.header.key: option.header.raw_value for option in common.header_mutation.set_headers}
        assert routed[MODEL_NAME].startswith(MODEL.encode())
    return _each(partial(_route, snapshot), requests)


def _route(snapshot: Snapshot, request: Request) -> list[bytes]:
    stream = RouteStream(snapshot, ENTROPY)
    out: list[bytes] = []
    for message in request:
        event, _ = codec.decode(message)
        out.extend([codec.encode(reply) for reply in _replies(stream.receive(event))])
    return out


def _answer(stream: RouteStream, request: Request) -> Reply:
    """The last reply, as all are encoded."""
    for message in request:
        event, _ = codec.decode(message)
        for reply in _replies(stream.receive(event)):
            codec.encode(reply)
    return reply


def _picked(snapshot: Snapshot, size: int, servers: int) -> Callable[[], object]:
    """The whole way where the policy has endpoints picked, and the end of each request; beside "size of the body"."""
    endpoints = tuple(f"10.0.{number >> 8}.{number & 255}:8000" for number in range(servers))
    policies = []
    for policy in snapshot.policies:
        versions = tuple(msgspec.structs.replace(v, endpoints=endpoints) for v in policy.versions)
        policies.append(msgspec.structs.replace(policy, versions=versions, picking=Picking()))
    pools = tuple(msgspec.structs.replace(pool, endpoints=endpoints) for pool in snapshot.pools)
    view, shared = Snapshot(tuple(policies), pools), SharedBoard(1)
    row = WorkerRow(shared.board, 0, perf_counter)
    row.want(wanted_endpoints(view))
    picks = Picks(row)
    picks.follow(view)

    def run(request: Request) -> None:
        reply = _answer(RouteStream(view, ENTROPY, picks=picks), request)
        assert isinstance(reply, HeadersReply)
        row.end(reply.mutation.endpoints.partition(",")[0])

    return _each(run, [chat(size, user=user) for user in USERS])


def _receive(snapshot: Snapshot, events: Sequence[Event]) -> list[Action]:
    stream = RouteStream(snapshot, ENTROPY)
    return [action for event in events for action in stream.receive(event)]


def _replies(actions: Sequence[Action]) -> list[Reply]:
    return [action for action in actions if not isinstance(action, Finish | Note | LoadReport | WaitingPick)]


def _parse(request: Request) -> None:
    for message in request:
        pb.ProcessingRequest.FromString(message)


def _parse_full(request: Request) -> None:
    for message in request:
        FullRequest.parse(message)


def _decode(request: Request) -> None:
    for message in request:
        codec.decode(message)


def _encode(replies: Sequence[Reply]) -> None:
    for reply in replies:
        codec.encode(reply)
