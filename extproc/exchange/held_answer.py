"""The answer of an exchange that waits for an endpoint: made but for that, and kept until its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from extproc.envoy.actions import FINISH, BodyReply, HeadersReply
from extproc.envoy.events import Closed, Event, RequestBody
from extproc.errors import Rejected
from extproc.exchange.body_mode import Actions
from extproc.exchange.notes import EVICTED, Action
from extproc.exchange.refusals import refused
from extproc.exchange.route import RouteStream, State
from extproc.exchange.waiting_pick import WaitingPick

if TYPE_CHECKING:
    from extproc.exchange.pick_queues import PickQueues  # numpy takes a tenth of a second to load


_PIECE = 256
"""Bytes that a piece of a body takes beside its own, about."""


class HeldAnswer:
    """Takes the events of a ``RouteStream`` that has decided, while the request waits.

    Of a body that goes on meanwhile as many bytes are kept as the policy has read of any (``limits.maxBody``): Envoy
    sends as fast as the client does. A request with more waits no longer, and is refused.
    """

    state = State.BODY
    """As of one that waits for a body: what comes is held."""

    def __init__(self, stream: RouteStream, queues: PickQueues, one: WaitingPick, actions: Actions) -> None:
        """``actions``: what ``stream`` gave when it decided; those up to ``one`` do not wait."""
        self.stream = stream
        self._queues, self._one, self._actions = queues, one, list(actions[actions.index(one) + 1 :])
        decision, (headers, *_), (_, _, body), *_ = one.asks
        self.unpacked = len(body) if "content-encoding" in headers else 0
        """Bytes of a body that is kept without its coding: more than came."""
        self._room = decision.policy.body_limit if decision.policy is not None else 0

    def receive(self, event: Event) -> Actions:
        """Nothing, until its turn; what follows the decision follows it then."""
        more = self.stream.receive(event)
        if type(event) is Closed:
            return self._queues.leave(self._one)
        if self._one.verdict:
            return ()  # it is about to be refused
        self._actions += more
        if more and type(event) is RequestBody:
            self._room -= len(event.data) + _PIECE
            if self._room < 0:
                self._queues.drop(self._one)
        return ()

    def make_room(self) -> Actions:
        """Its stream is ended for others. What to note of it."""
        return self._queues.leave(self._one, EVICTED)

    def finish(self) -> Actions:
        """It waits no longer: what to do now. To be called when its ``resume`` is."""
        one = self._one
        decision, (headers, *_), *_ = one.asks
        try:
            endpoints, notes = self._queues.finish(one)
        except Rejected as rejected:
            refusal = refused(rejected, self.stream.operation, decision.metadata(), headers)
            return (*rejected.notes, refusal, FINISH)
        return (*notes, *(_completed(action, endpoints) for action in self._actions))


def _completed(action: Action, endpoints: str) -> Action:
    """The reply that has the decision, with the endpoints; another action as it is."""
    if isinstance(action, HeadersReply | BodyReply) and action.mutation.set and endpoints:
        return msgspec.structs.replace(action, mutation=msgspec.structs.replace(action.mutation, endpoints=endpoints))
    return action
