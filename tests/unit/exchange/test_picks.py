"""Picks of one process: who gets a request, what the reply says, what is refused, and what a reload keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.envoy.actions import BodyReply, HeadersReply, Mutation, Reject
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.breakers import Breakers
from extproc.exchange.notes import Fault, Picked, Unmatched
from extproc.exchange.picks import Picks
from extproc.exchange.route import RouteStream
from extproc.headers import Headers
from extproc.picking.candidates import Candidates, Request
from extproc.picking.loads import unknown
from extproc.picking.prompt import prompt_of
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.gpu import Gpu
from extproc.policy.picking import STRATEGIES, Picking, Saturation
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Sticky, Version
from extproc.policy.target import NOWHERE
from tests.said_loads import SaidLoads

ADDRESSES = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")
A, B, C, D = ADDRESSES
CHAT = "/v1/chat/completions"
WAITS = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)


def snapshot(picking: Picking | None, *endpoints: str, **more: Any) -> Snapshot:
    versions = (Version("v1", 1, endpoints or ADDRESSES),)
    return Snapshot((Policy("chat", versions=versions, picking=picking, **more),))


class Process:
    def __init__(self, view: Snapshot) -> None:
        self.view, self.board = view, SaidLoads()
        self.unreachable: frozenset[str] = frozenset()
        self.avoided: frozenset[str] = frozenset()
        self.breakers: Breakers | None = None
        self.picks = Picks(self.board, lambda: self.unreachable, lambda: self.avoided)

    def ask(
        self,
        content: object = "Why?",
        path: str = CHAT,
        subset: tuple[str, ...] | None = None,
        entropy: int = 0,
        mode: Protocol = WAITS,
        former: bool = False,
        **headers: str,
    ) -> list[Any]:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        messages = [{"role": "user", "content": content}]
        body = json.dumps({"model": "llama", "messages": messages, "contents": messages}).encode()
        head = Headers.of([(":method", "POST"), (":path", path), ("content-length", str(len(body))), *named])
        if not former:
            self.picks.follow(self.view)
        stream = RouteStream(self.view, entropy.to_bytes(8), breakers=self.breakers, picks=self.picks)
        actions = list(stream.receive(RequestHeaders(head, protocol=mode, subset=subset)))
        return actions if actions and mode is WAITS else [*actions, *stream.receive(RequestBody(body, True))]

    def picked(self, *args: Any, **more: Any) -> str:
        """The first endpoint of the reply."""
        return mutation(self.ask(*args, **more)).endpoints.partition(",")[0]


def mutation(actions: list[Any]) -> Mutation:
    found = [a.mutation for a in actions if isinstance(a, HeadersReply | BodyReply) and a.mutation.set]
    assert len(found) == 1
    made: Mutation = found[0]
    return made


def refusal(actions: list[Any]) -> tuple[str, Reject]:
    (note,) = (action for action in actions if isinstance(action, Picked))
    (reject,) = (action for action in actions if isinstance(action, Reject))
    return note.outcome, reject


def test_the_least_loaded_and_after_it_the_next() -> None:
    process = Process(snapshot(Picking("least-loaded")))
    process.board.waiting = {A: 3, B: 1, C: 0, D: 2}
    found = process.ask()
    assert mutation(found).endpoints == f"{C},{B},{D}"
    assert Picked("chat", "v1", "", "picked") in found
    assert process.board.sent == {C: 1}


@pytest.mark.parametrize("mode", [BodyMode.STREAMED, BodyMode.BUFFERED, BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE])
def test_the_reply_that_decides_names_them(mode: BodyMode) -> None:
    process = Process(snapshot(Picking("least-loaded")))
    process.board.waiting = dict.fromkeys(ADDRESSES, 1) | {B: 0}
    found = process.ask(mode=Protocol(mode, mode is BodyMode.STREAMED))
    assert mutation(found).endpoints.startswith(B)


@pytest.mark.parametrize("path", [CHAT, "/v1beta/models/llama:generateContent"])
def test_prompts_that_begin_alike_go_to_one_endpoint(path: str) -> None:
    process = Process(snapshot(Picking("prefix")))
    process.board.waiting = dict.fromkeys(ADDRESSES, 0)
    homes = {user: process.picked(user * 3000, path) for user in "abcd"}
    process.board.waiting = dict.fromkeys(ADDRESSES, 0)
    for turn in range(20):
        for user, home in homes.items():
            assert process.picked(user * 3000 + str(turn), path, entropy=turn) == home


def test_a_session_has_one_endpoint_and_the_users_of_one_that_is_gone_move() -> None:
    process = Process(snapshot(Picking("session"), sticky=Sticky("x-user")))
    homes = {user: process.picked(x_user=user, entropy=len(user)) for user in map(str, range(20))}
    assert set(homes.values()) == set(ADDRESSES)
    process.unreachable = frozenset((B,))
    moved = {user: process.picked(x_user=user) for user in homes}
    assert {user for user in homes if moved[user] != homes[user]} == {u for u, home in homes.items() if home == B}


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        ((B, D), {B, D}),
        (("10.0.0.3",), {C}),
        (("10.0.0.3:81", "10.0.0.4:80"), {D}),
    ],
)
def test_only_endpoints_of_the_subset(subset: tuple[str, ...], expected: set[str]) -> None:
    process = Process(snapshot(Picking("random-two")))
    found = [mutation(process.ask(subset=subset, entropy=n << 40 | n)).endpoints.split(",") for n in range(40)]
    assert {endpoint for each in found for endpoint in each} == expected


@pytest.mark.parametrize("subset", [(), ("10.9.9.9:80",), ("nonsense",)])
def test_nobody_in_the_subset_is_503(subset: tuple[str, ...]) -> None:
    outcome, reject = refusal(Process(snapshot(Picking())).ask(subset=subset))
    assert (outcome, reject.status, reject.code) == ("none_ready", 503, "no_endpoint")


def test_nobody_ready_is_503_and_one_that_is_back_is_picked() -> None:
    process = Process(snapshot(Picking()))
    process.unreachable = frozenset(ADDRESSES)
    assert refusal(process.ask())[1].status == 503
    process.unreachable = frozenset((A, C, D))
    assert mutation(process.ask()).endpoints == B
    assert refusal(process.ask(subset=(A,)))[1].status == 503
    assert process.board.sent == {B: 1}


def test_where_a_version_has_no_endpoints_at_present_it_is_503_until_it_has() -> None:
    process = Process(snapshot(Picking(), NOWHERE))
    outcome, reply = refusal(process.ask())
    assert (outcome, reply.status) == ("none_ready", 503)
    process.view = snapshot(Picking(), A)
    assert process.picked() == A
    former, process.view = process.view, snapshot(Picking(), NOWHERE)
    process.picks.follow(process.view)
    process.view = former
    assert refusal(process.ask(former=True))[1].status == 503, "nor is it one that was there before"


@pytest.mark.parametrize("path", [CHAT, "/nobody/knows"])
def test_what_cannot_be_read_gets_an_endpoint_of_who_owns_everything(path: str) -> None:
    versions = (Version("v1", 1, ADDRESSES, "renamed"),)
    process = Process(Snapshot((Policy("all", versions=versions, picking=Picking("least-loaded")),)))
    process.board.waiting = {A: 1, B: 0, C: 1, D: 1}
    head = Headers.of([(":method", "POST"), (":path", path), ("content-length", "9"), ("x-model-version", "v9")])
    for mode in (WAITS, Protocol(BodyMode.FULL_DUPLEX_STREAMED)):
        process.picks.follow(process.view)
        stream = RouteStream(process.view, bytes(8), picks=process.picks)
        actions = list(stream.receive(RequestHeaders(head, protocol=mode)))
        actions += stream.receive(RequestBody(b"{not json", True))
        assert mutation(actions).endpoints.partition(",")[0] == B
        assert dict(mutation(actions).set)["x-model-version"] == "v1"
        assert not [action for action in actions if isinstance(action, Unmatched | Fault)]
        process.board.waiting[B] = 0
    process.unreachable = frozenset(ADDRESSES)
    stream = RouteStream(process.view, bytes(8), picks=process.picks)
    gone = stream.receive(RequestHeaders(Headers.of([(":method", "GET"), (":path", "/health")]), True))
    assert refusal(list(gone))[1].status == 503


def test_what_cannot_be_read_passes_on_where_nobody_owns_everything() -> None:
    policy = Policy("chat", models=("llama",), versions=(Version("v1", 1, ADDRESSES),), picking=Picking())
    process = Process(Snapshot((policy,)))
    process.picks.follow(process.view)
    stream = RouteStream(process.view, bytes(8), picks=process.picks)
    actions = stream.receive(RequestHeaders(Headers.of([(":method", "GET"), (":path", "/health")]), True))
    assert Unmatched("no_api") in actions
    assert all(not action.mutation.endpoints for action in actions if isinstance(action, HeadersReply))


def test_what_is_to_be_avoided_is_picked_where_nobody_else_is_left() -> None:
    process = Process(snapshot(Picking("random-two")))
    process.avoided = frozenset((A, B))
    assert {process.picked(entropy=n << 40 | n) for n in range(40)} == {C, D}
    process.unreachable = frozenset((C, D))
    assert {process.picked(entropy=n << 40 | n) for n in range(40)} == {A, B}


def test_what_is_not_urgent_is_shed_while_all_are_saturated() -> None:
    spec = Picking("least-loaded", saturation=Saturation(waiting=5), objectives=(("batch", -1), ("chat", 5)))
    process = Process(snapshot(spec))
    process.board.waiting = dict.fromkeys(ADDRESSES, 9)
    outcome, reject = refusal(process.ask(x_gateway_inference_objective="batch"))
    assert (outcome, reject.status, reject.code) == ("shed", 429, "saturated")
    assert ("retry-after", "1") in reject.headers
    for objective in ("chat", "unknown", ""):
        assert process.picked(x_gateway_inference_objective=objective) in ADDRESSES
    process.board.waiting = {**process.board.waiting, D: 2}
    assert process.picked(x_gateway_inference_objective="batch") == D
    process.view = snapshot(Picking("least-loaded", priority=-1))
    process.board.waiting = {**process.board.waiting, D: 9}
    assert refusal(process.ask())[0] == "shed"


def test_a_refusal_tells_that_the_request_was_diverted_before() -> None:
    versions = Version("v1", 1, (A,)), Version("v2", 0, (B,))
    breaker = CircuitBreaker(1, 1, fallback_version="v2")
    process = Process(Snapshot((Policy("chat", versions=versions, breaker=breaker, picking=Picking()),)))
    process.breakers, process.unreachable = Breakers(lambda: 0.0), frozenset({B})
    assert process.breakers.begin(process.view, {"policy": "chat", "version": "v1"}, Headers(), 0.0) is not None
    diverted, picked, reject, _ = process.ask()
    assert (diverted.to, picked.outcome, reject.code) == ("version", "none_ready", "no_endpoint")


def test_endpoints_whose_breakers_take_nothing_are_left_out_while_others_are_left() -> None:
    process = Process(snapshot(Picking("least-loaded"), breaker=CircuitBreaker(1, 1)))
    now = [1.0]
    process.breakers = breakers = Breakers(lambda: now[0])
    unreachable = frozenset[str](), frozenset((A,))
    process.picks = Picks(process.board, lambda: unreachable[now[0] > 1], limits=breakers.endpoints)
    process.board.waiting = {A: 0, B: 1, C: 2, D: 3}
    assert breakers.wanted(process.view)
    assert [process.picked() for _ in ADDRESSES] == list(ADDRESSES)
    full = [action for action in process.ask() if isinstance(action, Reject)]
    assert [(one.status, one.code) for one in full] == [(429, "no_room")]
    now[0] += 1.0  # what was decided and not seen counts no longer
    assert process.picked() == B
    assert process.picked(subset=(B,)) == B, "the proxy leaves no other"
    assert process.picked(subset=(B, D)) == D


def test_a_server_gets_no_more_than_it_may_where_the_others_cannot_be_reached() -> None:
    process = Process(snapshot(Picking("least-loaded"), A, B, breaker=CircuitBreaker(1, 2)))
    dead = frozenset((A,))
    process.breakers = breakers = Breakers(lambda: 1.0, unreachable=lambda: dead)
    process.picks = Picks(process.board, lambda: dead, limits=breakers.endpoints)
    assert breakers.wanted(process.view)
    assert [process.picked() for _ in range(2)] == [B, B]
    assert [(one.status, one.code) for one in process.ask() if isinstance(one, Reject)] == [(429, "no_room")]


def test_a_server_to_be_avoided_gets_what_the_others_have_no_room_for() -> None:
    process = Process(snapshot(Picking("least-loaded"), A, B, breaker=CircuitBreaker(1, 1)))
    process.breakers = breakers = Breakers(lambda: 1.0)
    avoided = frozenset((A,))
    process.picks = Picks(process.board, avoided=lambda: avoided, limits=breakers.endpoints)
    assert breakers.wanted(process.view)
    assert [process.picked() for _ in range(2)] == [B, A]
    assert [one.code for one in process.ask() if isinstance(one, Reject)] == ["no_room"]


def test_what_a_server_keeps_is_asked_for_there_unless_the_proxy_rules_it_out() -> None:
    process = Process(snapshot(Picking("least-loaded"), sticky=Sticky("x-user")))
    found = process.ask(path="/v1/responses", x_user="ann")
    home = mutation(found).endpoints
    assert home in ADDRESSES
    assert Picked("chat", "v1", "", "kept") in found
    process.board.waiting = dict.fromkeys(ADDRESSES, 0) | {home: 9}
    assert process.picked(path="/v1/responses", x_user="ann") == home
    other = next(address for address in ADDRESSES if address != home)
    assert process.picked(path="/v1/responses", x_user="ann", subset=(other,)) == other
    assert process.board.sent == {home: 2, other: 1}


def test_names_are_left_to_the_proxy() -> None:
    process = Process(snapshot(Picking(), "one.example:80", "10.0.0.2:80"))
    found = process.ask()
    assert mutation(found).endpoints == ""
    assert Picked("chat", "v1", "", "left_to_proxy") in found
    assert refusal(process.ask(subset=("10.0.0.2:80",)))[1].status == 503, "the proxy wants one named"


def test_policies_that_pick_nothing_are_left_alone() -> None:
    found = Process(snapshot(None)).ask(subset=())
    assert mutation(found).endpoints == ""
    assert not any(isinstance(action, Picked) for action in found)


def test_it_stays_within_the_pool_and_version_that_were_decided() -> None:
    pools = tuple(GpuPool(name, Gpu(), (address,)) for name, address in (("west", A), ("east", B)))
    versions = (Version("v1", 1, gpu_pools=("west",)), Version("v2", 1, gpu_pools=("east",)))
    process = Process(Snapshot((Policy("chat", versions=versions, picking=Picking(), sticky=Sticky("x-user")),), pools))
    for user in map(str, range(20)):
        made = mutation(process.ask(x_user=user))
        assert made.endpoints == {"west": A, "east": B}[dict(made.set)["x-gpu-pool"]]


def test_calls_of_grpc_get_the_endpoints_for_grpc() -> None:
    versions = (Version("v1", 1, ADDRESSES, grpc_endpoints=("10.0.0.1:90", "10.0.0.2:90")),)
    process = Process(Snapshot((Policy("chat", versions=versions, picking=Picking()),)))
    path = "/inference.GRPCInferenceService/ModelInfer"
    head = Headers.of([(":method", "POST"), (":path", path), ("content-type", "application/grpc")])
    process.picks.follow(process.view)
    stream = RouteStream(process.view, bytes(8), picks=process.picks)
    stream.receive(RequestHeaders(head, protocol=WAITS))
    message = b"\x0a\x05llama"
    found = stream.receive(RequestBody(b"\0" + len(message).to_bytes(4) + message))
    assert mutation(list(found)).endpoints.partition(",")[0] in ("10.0.0.1:90", "10.0.0.2:90")


def test_a_reload_keeps_what_is_known_of_endpoints_that_stay() -> None:
    process = Process(snapshot(Picking("prefix")))
    process.board.waiting = dict.fromkeys((*ADDRESSES, "10.0.0.5:80"), 0)
    home = process.picked("a" * 3000)
    process.view = snapshot(Picking("prefix"), *ADDRESSES, "10.0.0.5:80")
    assert all(process.picked("a" * 3000, entropy=n) == home for n in range(10))
    process.view = snapshot(Picking("prefix"), *(address for address in ADDRESSES if address != home))
    assert process.picked("a" * 3000) != home


def test_a_reload_that_changes_priorities_keeps_what_is_known_of_prompts() -> None:
    process = Process(snapshot(Picking()))
    process.board.waiting = dict.fromkeys(ADDRESSES, 6)
    home = process.picked("a" * 900)
    process.view = snapshot(Picking(priority=-1))
    assert refusal(process.ask("a" * 900))[1].status == 429
    process.view = snapshot(Picking(priority=-1, saturation=Saturation(waiting=9)))
    assert process.picked("a" * 900, entropy=1) == home


def test_an_old_snapshot_of_a_stream_that_is_still_open_is_served_as_well() -> None:
    old, new = snapshot(Picking(), A, B), snapshot(Picking("least-loaded"), B, C)
    process = Process(old)
    assert process.picked(former=False) in (A, B)
    process.view = new
    assert process.picked() in (B, C)
    process.view = old
    assert all(process.picked(former=True, entropy=n) == B for n in range(10))
    outcome, _ = refusal(process.ask(former=True, subset=(A, C)))
    assert outcome == "none_ready"
    process.view = snapshot(Picking(), C, D)
    assert process.picked() in (C, D)
    process.view = old
    assert process.picked(former=True) == ""
    assert Picked("chat", "v1", "", "left_to_proxy") in process.ask(former=True)


def test_requests_from_before_a_reload_make_nobody_forget_prompts() -> None:
    old, new = snapshot(Picking()), snapshot(Picking("prefix", block_bytes=512), *ADDRESSES, "10.0.0.5:80")
    process = Process(new)
    process.board.waiting = dict.fromkeys((*ADDRESSES, "10.0.0.5:80"), 0)
    process.picked("b" * 3000)
    (place,) = process.picks._kept.values()
    prompt = prompt_of(json.dumps([{"role": "user", "content": "b" * 3000}]).encode(), 512, "llama")

    def known() -> int:
        rows = place.picker.explain(Candidates(place.addresses), unknown(5), Request(prompt))
        return max(row.matched for row in rows)

    before = known()
    for number in range(3):
        process.view = old
        process.picked("a", former=True, entropy=number)
        process.view = new
        process.picked("a", entropy=number)
    assert list(process.picks._kept.values()) == [place]
    assert known() == before > 2000


MORE = (*ADDRESSES, "10.0.0.5:80")
SETS = st.sets(st.sampled_from(MORE))
PICKINGS = st.tuples(st.sampled_from(STRATEGIES), st.sets(st.sampled_from(MORE), min_size=1))
STEPS = st.lists(st.tuples(PICKINGS, st.none() | SETS, SETS, SETS, st.integers(0, 9)), max_size=8)


@settings(max_examples=15)
@given(STEPS)
def test_nobody_gets_a_request_who_may_not_have_it(steps: list[tuple[Any, ...]]) -> None:
    process = Process(snapshot(Picking()))
    for (by, endpoints), subset, unreachable, avoided, number in steps:
        process.view = snapshot(Picking(by), *sorted(endpoints), sticky=Sticky("x-user"))
        process.unreachable, process.avoided = frozenset(unreachable), frozenset(avoided)
        process.board.waiting = dict.fromkeys(sorted(avoided), number)
        hint = None if subset is None else tuple(sorted(subset))
        found = process.ask("word " * 20 * number, subset=hint, entropy=number, x_user=str(number))
        may = (endpoints if subset is None else endpoints & subset) - unreachable
        may = may - avoided or may
        if not may:
            assert refusal(found)[1].status == 503
            continue
        picked = mutation(found).endpoints.split(",")
        assert set(picked) <= may
        assert len(set(picked)) == len(picked)
        if by != "random-two":
            assert len(picked) == min(3, len(may))
