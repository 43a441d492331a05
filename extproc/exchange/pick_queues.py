"""The queues of one process: requests that wait for an endpoint of a target, and when it is whose turn.

Reports of loads and ends of requests are seen by looking at the loads again, every ``LOOK_INTERVAL`` while somebody
waits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import and_
from typing import Protocol, cast

from extproc.errors import Rejected
from extproc.exchange.notes import (
    CLIENT_LEFT,
    EVICTED,
    QUEUE_FULL,
    QUEUE_TIMEOUT,
    ROUTED,
    SHED_PICK,
    UNSERVED,
    Note,
    Picked,
    Waited,
)
from extproc.exchange.place import Place
from extproc.exchange.waiting_pick import Asked, Asks, CallLater, Content, Names, WaitingPick
from extproc.headers import FAIRNESS_ID
from extproc.picking.loads import EndpointLoads, unknown
from extproc.picking.picker import RETRY_AFTER
from extproc.picking.room import Room
from extproc.picking.waiting_requests import WaitingRequests
from extproc.policy.decision import Decision
from extproc.policy.picking import Picking, Saturation
from extproc.policy.snapshot import Snapshot

LOOK_INTERVAL = 0.02
"""Seconds between two looks, as long as a reading of loads is good for (``picking.worker_row``)."""
_TEXTS = {
    QUEUE_FULL: ("queue_full", "every server of the model is busy, and too many requests wait already"),
    EVICTED: ("queue_full", "every server of the model is busy, and others have taken the request's place"),
    QUEUE_TIMEOUT: ("queue_timeout", "every server of the model has been busy for as long as the request may wait"),
}
"""Code and message of a refusal."""


class Picks(Protocol):
    """What picks for those that wait: ``exchange.picks.Picks``."""

    def where(self, decision: Decision, asked: Asked, snapshot: Snapshot, /) -> tuple[Picking, Names, Place | None]:
        """The endpoints by the policies in force; None where these have none there."""

    def state(self, place: Place, /) -> tuple[bytes, EndpointLoads]:
        """Which are ready, and their loads."""

    def hinted(
        self, place: Place, names: Names, asked: Asked, subset: tuple[str, ...] | None, snapshot: Snapshot, /
    ) -> bytes:
        """Which the request may have."""

    def pick(
        self,
        decision: Decision,
        asked: Asked,
        content: Content,
        subset: tuple[str, ...] | None,
        snapshot: Snapshot,
        room: bytes | None,
        /,
    ) -> tuple[str, Picked | WaitingPick]:
        """An endpoint."""


class _Queue:
    """That of one target."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.requests: WaitingRequests[WaitingPick] = WaitingRequests()
        self._loads, self._room = unknown(0), Room(Saturation(), unknown(0))

    def room(self, bounds: Saturation, loads: EndpointLoads) -> Room:
        """What is left of it since these loads were read."""
        if loads is not self._loads:
            self._loads, self._room = loads, Room(bounds, loads)
        return self._room


class PickQueues:
    """Used by the event loop's thread alone, but for ``waiting``."""

    def __init__(self, picks: Picks, clock: Callable[[], float]) -> None:
        """``clock``: seconds."""
        self._picks, self._clock = picks, clock
        self.by_cluster: dict[str, _Queue] = {}
        """By the cluster of the endpoints; none is empty."""
        self._dropped: list[WaitingPick] = []
        self._call_later: CallLater | None = None
        """None where no look is to come."""

    def waiting(self) -> dict[Names, int]:
        """How many wait. Any thread may ask."""
        found: dict[Names, int] = {}
        for queue in list(self.by_cluster.values()):
            found[queue.names] = found.get(queue.names, 0) + len(queue.requests)
        return found

    def wanted(self, place: Place, endpoint: str) -> bool:
        """Whether somebody waits who may go to this endpoint of the target."""
        queue, hints = self.by_cluster.get(place.cluster), _Hints(self._picks, place, b"")
        marks = bytes(address == endpoint for address in place.addresses)
        return queue is not None and any(hints.among(marks, one) for one in queue.requests)

    def wait(self, place: Place, names: Names, asks: Asks, priority: int) -> WaitingPick:
        """One more waits for an endpoint of the target. Raises ``Rejected`` where there is no room in its queue."""
        one = WaitingPick(place.cluster, names, asks, self._clock())
        queue = self.by_cluster.get(place.cluster) or _Queue(names)
        _, (headers, *_), *_ = asks
        out = queue.requests.add(one, priority, headers.get(FAIRNESS_ID) or b"", place.picker.spec.max_queue)
        if out is one:
            raise _refused(QUEUE_FULL, Waited(names[0], QUEUE_FULL), Picked(*names, SHED_PICK))
        self.by_cluster[place.cluster] = queue
        if out is not None:
            out.verdict = EVICTED
            self._dropped.append(out)
        return one

    def leave(self, one: WaitingPick, why: str = CLIENT_LEFT) -> tuple[Waited, ...]:
        """Its client has left, or there is another reason why it needs no answer. What to note of it; nothing where it
        did not wait any more.
        """
        queue = self.by_cluster.get(one.cluster)
        if one in self._dropped:
            self._dropped.remove(one)
            return (self._waited(one, one.verdict),)
        if queue is None or not queue.requests.remove(one):
            return ()
        self._forget_if_empty(one.cluster, queue)
        return (self._waited(one, why),)

    def drop(self, one: WaitingPick) -> None:
        """There is no room for what comes of it while it waits: it is refused at the next look."""
        queue = self.by_cluster.get(one.cluster)
        if queue is not None and queue.requests.remove(one):
            self._forget_if_empty(one.cluster, queue)
            one.verdict = QUEUE_FULL
            self._dropped.append(one)

    def hold(self, one: WaitingPick, seconds: float, resume: Callable[[], None], call_later: CallLater) -> None:
        """The exchange of one that waits is held, so many seconds at most; ``resume``: has it go on."""
        one.until, one.resume = one.since + seconds, resume
        self._look_later(call_later)

    def look(self) -> None:
        """Resumes those that were dropped, that have waited too long, and whose turn it is."""
        now, call_later, self._call_later = self._clock(), self._call_later, None
        dropped, self._dropped = self._dropped, []
        try:
            for one in dropped:
                one.resume()
            for cluster, queue in list(self.by_cluster.items()):
                for one in [one for one in queue.requests if one.until <= now]:
                    queue.requests.remove(one)
                    one.verdict = QUEUE_TIMEOUT
                    one.resume()
                if queue.requests:
                    self._take_turns(queue)
                self._forget_if_empty(cluster, queue)
        finally:
            if self.by_cluster and call_later is not None:
                self._look_later(call_later)

    def finish(self, one: WaitingPick) -> tuple[str, tuple[Note, ...]]:
        """What comes of a request that waits no longer: endpoints, as ``Picks.pick`` gives them, and what to note.
        Raises ``Rejected``.
        """
        if one.verdict != ROUTED:
            raise _refused(one.verdict, self._waited(one, one.verdict), Picked(*one.names, SHED_PICK))
        try:
            endpoints, picked = self._picks.pick(*one.asks, one.room)
        except Rejected as rejected:
            rejected.notes = (*rejected.notes, self._waited(one, UNSERVED))
            raise
        one.endpoint = endpoints.partition(",")[0]
        return endpoints, (self._waited(one, ROUTED), cast("Picked", picked))

    def _look_later(self, call_later: CallLater) -> None:
        if self._call_later is None:
            call_later(LOOK_INTERVAL, self.look)
        self._call_later = call_later

    def _take_turns(self, queue: _Queue) -> None:
        decision, asked, _, _, snapshot = next(iter(queue.requests)).asks
        spec, _, place = self._picks.where(decision, asked, snapshot)
        ready, loads = (b"", unknown(0)) if place is None else self._picks.state(place)
        if place is None or not spec.max_queue or not place.addresses or (ready and not any(ready)):
            # There is no queue by the policies in force now, or no endpoint is ready: served as whoever comes now.
            while (one := queue.requests.take(lambda _: True)) is not None:
                self._route(one, b"")
            return
        while len(queue.requests) > spec.max_queue:  # fewer may wait than could
            one = queue.requests.drop()
            one.verdict = EVICTED
            one.resume()
        room, hints = queue.room(spec.saturation, loads), _Hints(self._picks, place, ready)
        while any(marks := room.marks(ready)):
            if (one := queue.requests.take(partial(hints.allow, marks))) is None:
                return
            self._route(one, hints.room(marks, one))
            if one.endpoint in place.addresses:
                room.sent(place.addresses.index(one.endpoint))

    def _route(self, one: WaitingPick, room: bytes) -> None:
        one.verdict, one.room = ROUTED, room
        one.resume()

    def _forget_if_empty(self, cluster: str, queue: _Queue) -> None:
        if not queue.requests:
            self.by_cluster.pop(cluster, None)

    def _waited(self, one: WaitingPick, outcome: str) -> Waited:
        return Waited(one.names[0], outcome, self._clock() - one.since)


class _Hints:
    """Which endpoints of a place a request may have, if not any."""

    def __init__(self, picks: Picks, place: Place, ready: bytes) -> None:
        self._picks, self._place, self._ready = picks, place, ready
        self._marks: dict[tuple[tuple[str, ...] | None, int], bytes] = {}
        """By subset and identity of the policies: most requests have the same."""

    def allow(self, marks: bytes, one: WaitingPick) -> bool:
        """Whether one of the marked endpoints is among them, or none that is ready."""
        return self.among(marks, one) or not any(map(and_, hinted := self._of(one), self._ready or hinted))

    def among(self, marks: bytes, one: WaitingPick) -> bool:
        """Whether one of the marked endpoints is among them."""
        hinted = self._of(one)
        return not hinted or any(map(and_, hinted, marks))

    def room(self, marks: bytes, one: WaitingPick) -> bytes:
        """The marks, by which it is picked for; empty, as for whoever comes now, where none of the marked endpoints is
        among its own, or the policies in force now have others for it: servers for gRPC alone.
        """
        decision, asked, _, _, snapshot = one.asks
        _, _, place = self._picks.where(decision, asked, snapshot)
        return marks if place is self._place and self.among(marks, one) else b""

    def _of(self, one: WaitingPick) -> bytes:
        _, asked, _, subset, snapshot = one.asks
        hinted = self._marks.get((subset, id(snapshot)))
        if hinted is None:
            hinted = self._picks.hinted(self._place, one.names, asked, subset, snapshot)
            self._marks[subset, id(snapshot)] = hinted
        return hinted


def _refused(why: str, *notes: Note) -> Rejected:
    code, message = _TEXTS[why]
    rejected = Rejected(429, code, message, RETRY_AFTER)
    rejected.notes = notes
    return rejected
