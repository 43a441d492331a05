"""The endpoints that one process picks: what they have in their caches, and how many requests it has sent to each.

A pick is made for the target that policy, version, sticky key and circuit breaker have led to, and never leaves it. The
endpoint that a session or a stored object is at is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import and_
from typing import Protocol

from extproc.apis.prompts import prompt_text
from extproc.bodies.grpc_message import is_grpc
from extproc.errors import Rejected
from extproc.exchange.endpoint_breakers import EndpointBreakers
from extproc.exchange.notes import KEPT, LEFT, NONE_READY, PICKED, SHED_PICK, Picked
from extproc.exchange.pick_queues import PickQueues
from extproc.exchange.place import NOBODY, Place
from extproc.exchange.waiting_pick import Asked, Content, Names, WaitingPick
from extproc.headers import OBJECTIVE
from extproc.picking.candidates import NOT_HINTED, SATURATED, EndpointScore, Pick, Refusal, Request
from extproc.picking.loads import EndpointLoads
from extproc.picking.picker import RETRY_AFTER, Picker
from extproc.picking.prompt import NO_PROMPT, block_ends, prompt_of
from extproc.policy.decision import Decision
from extproc.policy.picking import PREFIX, SESSION, Picking
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.sticky_key import sticky_key
from extproc.policy.target import Target, is_address

_BUSY = Refusal(429, SATURATED, RETRY_AFTER)


class KnownLoads(Protocol):
    """What is known of endpoints (``ip:port``)."""

    def loads(self, endpoints: tuple[str, ...], /) -> EndpointLoads:
        """Their loads, in this order; the same object until there is a newer reading."""

    def begin(self, endpoint: str, /) -> None:
        """A request is sent there."""

    def end(self, endpoint: str, /) -> None:
        """One that was sent there has ended."""

    def follow(self) -> None:
        """The targets have changed, and with them the tuples of endpoints."""


class Picks:
    """All of a process. Used by its event loop's thread alone.

    A request that came before the last reload is picked for by the policies in force, among the endpoints that its own
    policies have as well: what is known of endpoints is kept once, and follows no request backwards.
    """

    def __init__(
        self,
        board: KnownLoads,
        unreachable: Callable[[], frozenset[str]] = lambda: NOBODY,
        avoided: Callable[[], frozenset[str]] = lambda: NOBODY,
        clock: Callable[[], float] = lambda: 0.0,
        limits: Callable[[Policy, Names, bool], EndpointBreakers | None] = lambda *_: None,
    ) -> None:
        """``unreachable``: gives the endpoints to which no connection can be made; ``avoided``: those that get nothing
        while others may. Each the same object while they are the same. ``clock``: seconds, by which requests wait.
        ``limits``: the circuit breakers of the endpoints of a target, by its policy, version and pool; of its servers
        for gRPC with True.
        """
        self.queues = PickQueues(self, clock)
        self._board, self._unreachable, self._avoided, self._limits = board, unreachable, avoided, limits
        self._snapshot = Snapshot()
        self._places: dict[Names, tuple[Picking, Place | None, Place | None]] = {}
        """By policy, version and pool, for gRPC in the last place: the same where it has no servers of its own."""
        self._kept: dict[str, Place] = {}
        """By cluster, across reloads."""

    def follow(self, snapshot: Snapshot) -> None:
        """These policies are in force from now on."""
        if snapshot is self._snapshot:
            return
        self._snapshot, self._places = snapshot, {}
        self._board.follow()
        clusters = snapshot.target_by_cluster
        self._kept = {name: kept for name, kept in self._kept.items() if name.removesuffix("#grpc") in clusters}

    def pick(
        self,
        decision: Decision,
        asked: Asked,
        content: Content,
        subset: tuple[str, ...] | None,
        snapshot: Snapshot,
        room: bytes | None = None,
    ) -> tuple[str, Picked | WaitingPick]:
        """The endpoint and those to try after it, separated by commas, and what to note. Empty where none can be told,
        or where the request has to wait.

        ``snapshot``: that of the decision. ``subset``: endpoints of which one must be picked, ``host:port``, or
        ``host`` for any port; None: any. ``room``: of a request that has waited, a byte for each endpoint, 0 where
        there is no room for it; empty: anywhere. Raises ``Rejected``: 503 where no endpoint may have the request, 429
        where all are saturated and it is not urgent, or cannot wait.
        """
        spec, names, place = self.where(decision, asked, snapshot)
        if place is None and subset is None:
            return decision.endpoint, Picked(*names, LEFT)
        if place is None:
            raise _refused(Refusal(503, NOT_HINTED), Picked(*names, NONE_READY))
        hinted = place.hinted(subset)
        if decision.endpoint and (not hinted or _is_marked(decision.endpoint, place.addresses, hinted)):
            self._sent(place, decision.endpoint)
            return decision.endpoint, Picked(*names, KEPT)
        if snapshot is not self._snapshot:
            hinted = self.hinted(place, names, asked, subset, snapshot)
            if subset is None and place.addresses and not any(hinted):
                return "", Picked(*names, LEFT)
        if room:
            hinted = bytes(map(and_, hinted, room)) if hinted else room
        candidates = place.candidates(self._unreachable(), self._avoided(), hinted)
        if (with_room := place.with_room(hinted)) is not hinted:
            hinted, candidates = with_room, place.candidates(self._unreachable(), self._avoided(), with_room)
        loads = self._board.loads(place.addresses)
        waits = room is None and spec.max_queue > 0
        request = _request(decision, spec, asked, content, hinted, adapters=bool(loads.adapters), waits=waits)
        found = place.picker.pick(candidates, loads, request, asked[2])
        if waits and place.cluster in self.queues.by_cluster and isinstance(found, Pick):
            found = _BUSY if self.queues.wanted(place, found.endpoint) else found  # others wait for it, and were first
        if isinstance(found, Refusal):
            if found.status == 429 and request.priority >= 0:
                asks = decision, asked, content, subset, snapshot
                return "", self.queues.wait(place, names, asks, request.priority)
            raise _refused(found, Picked(*names, NONE_READY if found.status == 503 else SHED_PICK))
        place.picker.sent(found.endpoint, request.prompt, found.matched)
        self._sent(place, found.endpoint)
        return ",".join((found.endpoint, *found.fallbacks)), Picked(*names, PICKED)

    def _sent(self, place: Place, endpoint: str) -> None:
        self._board.begin(endpoint)
        if place.limits is not None:
            place.limits.sent(endpoint)

    def explain(
        self, decision: Decision, asked: Asked, content: Content, subset: tuple[str, ...] | None, snapshot: Snapshot
    ) -> list[EndpointScore]:
        """What ``pick`` would find of each endpoint; nothing where they are names."""
        spec, _, place = self.where(decision, asked, snapshot)
        if place is None:
            return []
        loads = self._board.loads(place.addresses)
        hinted = place.hinted(subset)
        request = _request(decision, spec, asked, content, hinted, adapters=bool(loads.adapters))
        return place.picker.explain(place.candidates(self._unreachable(), self._avoided(), hinted), loads, request)

    def hinted(
        self, place: Place, names: Names, asked: Asked, subset: tuple[str, ...] | None, snapshot: Snapshot
    ) -> bytes:
        """A mark for each endpoint, 0 where the proxy's subset rules it out, or the policies of the request do not have
        it; empty: any may have the request.
        """
        hinted = place.hinted(subset)
        if snapshot is self._snapshot:
            return hinted
        former = _target(names, snapshot)
        shared = place.hinted(former.present(grpc=is_grpc(asked[0])) if former else ())
        return bytes(map(and_, hinted, shared)) if hinted else shared

    def state(self, place: Place) -> tuple[bytes, EndpointLoads]:
        """A mark for each endpoint that is ready, and need not be avoided, and whose circuit breaker takes requests, if
        others are left; empty: all are. And their loads.
        """
        ready = place.candidates(self._unreachable(), self._avoided(), b"").ready
        return place.with_room(ready), self._board.loads(place.addresses)

    def where(self, decision: Decision, asked: Asked, snapshot: Snapshot) -> tuple[Picking, Names, Place | None]:
        """How to pick; policy, version and pool; the endpoints, None where they are names, or the policies in force
        have none there.
        """
        policy = decision.policy
        if policy is None or policy.picking is None:
            raise ValueError("the policy picks no endpoints")
        names = policy.name, decision.version if policy.versions else "", decision.pool
        found = self._places.get(names)
        if found is None:
            now = policy if snapshot is self._snapshot else self._snapshot.by_name.get(policy.name)
            target = _target(names, self._snapshot)
            if now is None or now.picking is None or target is None:
                return policy.picking, names, None
            plain = self._new_place(now, target, names, grpc=False)
            own = bool(target.grpc_endpoints)
            found = now.picking, plain, self._new_place(now, target, names, grpc=True) if own else plain
            self._places[names] = found
        spec, plain, grpc = found
        return spec, names, grpc if grpc is not plain and is_grpc(asked[0]) else plain

    def _new_place(self, policy: Policy, target: Target, names: Names, *, grpc: bool) -> Place | None:
        """None where the endpoints are names."""
        addresses, cluster = target.present(grpc=grpc), target.cluster_of(grpc=grpc)
        spec = policy.picking or Picking()
        if not all(is_address(endpoint) for endpoint in addresses):
            return None
        kept = self._kept.get(cluster)
        if kept is None or not (kept.picker.spec == spec or kept.picker.take(spec)):
            kept = self._kept[cluster] = Place(cluster, addresses, Picker(cluster, spec))
        elif kept.addresses != addresses:
            kept = self._kept[cluster] = Place(cluster, addresses, kept.picker)
        kept.limits = self._limits(policy, names, grpc)
        return kept


def _target(names: Names, snapshot: Snapshot) -> Target | None:
    """The target of this policy, version and pool, if these policies have it."""
    return next((target for target in snapshot.targets.get(names[:2], ()) if target.pool == names[2]), None)


def _is_marked(endpoint: str, addresses: tuple[str, ...], marks: bytes) -> bool:
    return endpoint in addresses and marks[addresses.index(endpoint)] != 0


def _request(
    decision: Decision,
    spec: Picking,
    asked: Asked,
    content: Content,
    hinted: bytes,
    *,
    adapters: bool,
    waits: bool = False,
) -> Request:
    """``adapters``: servers tell which they have loaded."""
    (headers, body_key, _), (operation, fields, body) = asked, content
    model = decision.model_rewrite or decision.request.model
    prompt, key = NO_PROMPT, b""
    if spec.by == PREFIX:
        limit = block_ends(spec.block_bytes)[-1]
        prompt = prompt_of(fields.prompt_text(limit) or prompt_text(operation, body, limit), spec.block_bytes, model)
    elif spec.by == SESSION and decision.policy is not None:
        key = sticky_key(decision.policy, headers, body_key) or b""
    adapter = (fields.adapter or model) if adapters else ""
    priority = spec.priority_of(headers.text(OBJECTIVE)) if spec.objectives else spec.priority
    return Request(prompt, key, adapter, priority, hinted, waits)


def _refused(refusal: Refusal, note: Picked) -> Rejected:
    if refusal.status == 429:
        busy = "every server of the model is busy, and the request is not urgent"
        what = Rejected(429, "saturated", busy, refusal.retry_after)
    else:
        what = Rejected(503, "no_endpoint", "no server of the model can take the request at present")
    what.notes = (note,)
    return what
