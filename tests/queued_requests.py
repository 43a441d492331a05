"""Picks with queues as a test moves them: servers, requests and the clock, without a shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from extproc.envoy.actions import BodyReply, HeadersReply, Reject
from extproc.envoy.events import BodyMode, Closed, Protocol, RequestBody, RequestHeaders
from extproc.exchange.held_answer import HeldAnswer
from extproc.exchange.notes import Picked, Waited
from extproc.exchange.pick_queues import LOOK_INTERVAL
from extproc.exchange.picks import Picks
from extproc.exchange.route import RouteStream
from extproc.exchange.waiting_pick import WaitingPick
from extproc.headers import Headers
from extproc.picking.loads import EndpointLoads
from extproc.policy.picking import Picking, Saturation
from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.said_loads import SaidLoads

A, B, C = ADDRESSES = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
ONE_EACH = Saturation(waiting=0)
WAITS = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)
PATIENCE = 0.75


def snapshot(*endpoints: str, **more: Any) -> Snapshot:
    spec: dict[str, Any] = {"max_queue": 4, "saturation": ONE_EACH, "objectives": (("batch", -1), ("chat", 5))} | more
    versions = (Version("v1", 1, endpoints or (A, B)),)
    return Snapshot((Policy("chat", versions=versions, picking=Picking("least-loaded", **spec)),))


class Pages(SaidLoads):
    """Of servers that tell at once what they were sent, and work on one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[EndpointLoads] = []
        """What is read before anything newer, one after the other."""

    def loads(self, endpoints: tuple[str, ...]) -> EndpointLoads:
        return self.known.pop() if self.known else super().loads(endpoints)

    def begin(self, endpoint: str) -> None:
        super().begin(endpoint)
        self.waiting = {**self.waiting, endpoint: self.waiting.get(endpoint, 0) + 1}


class One:
    """A request, and what comes of it: as the shell has it (``serve.servicer``)."""

    def __init__(self, process: Process, subset: tuple[str, ...] | None, headers: dict[str, str]) -> None:
        self.process, self.actions = process, list[Any]()
        body = b'{"model": "llama", "messages": []}'
        length = ("content-length", str(len(body)))
        head = Headers.of([(":method", "POST"), (":path", "/v1/chat/completions"), length, *headers.items()])
        self.stream: RouteStream | HeldAnswer = RouteStream(process.view, bytes(8), picks=process.picks)
        self._take(self.stream.receive(RequestHeaders(head, protocol=WAITS, subset=subset)))
        self._take(self.stream.receive(RequestBody(body, end_of_stream=True)))

    def _take(self, actions: tuple[Any, ...]) -> None:
        waits = next((action for action in actions if isinstance(action, WaitingPick)), None)
        if waits is None:
            self.actions += actions
            return
        assert isinstance(self.stream, RouteStream)
        queues = self.process.picks.queues
        self.stream = HeldAnswer(self.stream, queues, waits, actions)
        queues.hold(waits, PATIENCE, self._resume, self.process.call_later)

    def _resume(self) -> None:
        assert isinstance(self.stream, HeldAnswer)
        actions, self.stream = self.stream.finish(), self.stream.stream
        self._take(actions)
        self.process.resumed.append(self)

    @property
    def waits(self) -> bool:
        return isinstance(self.stream, HeldAnswer)

    def leave(self) -> None:
        self.actions += self.stream.receive(Closed())
        if isinstance(self.stream, HeldAnswer):
            self.stream = self.stream.stream

    @property
    def endpoints(self) -> list[str]:
        """Those of the reply; none of a refusal."""
        replies = [a for a in self.actions if isinstance(a, HeadersReply | BodyReply) and a.mutation.set]
        return replies[0].mutation.endpoints.split(",") if replies else []

    @property
    def refused(self) -> tuple[int, str]:
        (reject,) = (action for action in self.actions if isinstance(action, Reject))
        return reject.status, reject.code

    @property
    def notes(self) -> tuple[list[str], list[str]]:
        """Outcomes of picks, and of waits."""
        return (
            [action.outcome for action in self.actions if isinstance(action, Picked)],
            [action.outcome for action in self.actions if isinstance(action, Waited)],
        )


class Process:
    def __init__(self, view: Snapshot) -> None:
        self.view, self.board, self.now = view, Pages(), 100.0
        self.unreachable: frozenset[str] = frozenset()
        self.picks = Picks(self.board, lambda: self.unreachable, clock=lambda: self.now)
        self.picks.follow(view)
        self.resumed: list[One] = []
        self.due: list[Callable[[], None]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        assert seconds == LOOK_INTERVAL
        self.due.append(callback)

    def ask(self, objective: str = "", user: str = "", subset: tuple[str, ...] | None = None) -> One:
        said = {"x-gateway-inference-objective": objective, "x-gateway-inference-fairness-id": user}
        return One(self, subset, {name: value for name, value in said.items() if value})

    def say(self, **waiting: int) -> None:
        self.board.waiting = {**self.board.waiting, **{globals()[name]: number for name, number in waiting.items()}}

    def look(self, seconds: float = LOOK_INTERVAL) -> list[One]:
        """Those that wait no longer, in order."""
        self.now += seconds
        due, self.due = self.due, []
        assert len(due) <= 1
        for callback in due:
            callback()
        found, self.resumed = self.resumed, []
        return found

    def reload(self, view: Snapshot) -> None:
        self.view = view
        self.picks.follow(view)


def busy(*endpoints: str, **more: Any) -> Process:
    """All of whose servers are saturated."""
    process = Process(snapshot(*endpoints, **more))
    process.board.waiting = dict.fromkeys(ADDRESSES, 1)
    return process
