"""The engine on grpcio's own completion queue: one thread, one loop, no event loop between. Floor 5.

It uses ``grpc._cython.cygrpc``, on which grpcio's synchronous server stands too, but which promises nothing:
``NEEDED`` is all of it, ``tests/grpc/test_contract.py`` holds how it behaves. The C core below allows each call one
outstanding send and one outstanding receive, reports each finished batch of operations once, by the tag given with it,
and frees a call only after a batch with its status and its close.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

import grpc
from grpc._cython import cygrpc

from extproc.engine.call import Call
from extproc.engine.contract import PAUSE, Factory, Pulse, Settings, listening_refused
from extproc.engine.credentials import server_credentials
from extproc.errors import SetupError

log = logging.getLogger(__name__)

NEEDED = (
    *("Server.add_http2_port", "Server.cancel_all_calls", "Server.register_completion_queue"),
    *("Server.request_call", "Server.shutdown", "Server.start"),
    *("CompletionQueue.poll", "CompletionQueue.shutdown", "CompletionType.queue_shutdown"),
    *("RequestCallEvent.invocation_metadata", "Call.cancel", "Call.start_server_batch"),
    *("ReceiveMessageOperation.message", "ReceiveCloseOnServerOperation"),
    *("SendInitialMetadataOperation", "SendMessageOperation", "SendStatusFromServerOperation"),
)

_TICK = 0.2
"""Seconds after which the loop looks at ``stop``; grpcio runs signal handlers as often."""
_ARMED = 64
"""Calls that the core may hand over before we have asked for more."""
_QUEUE_SHUTDOWN = cygrpc.CompletionType.queue_shutdown
_ACCEPT, _STOPPED = object(), object()
"""Tags: a new call; every call has ended."""


class QueueEngine:
    """See ``Engine``."""

    def __init__(self, addresses: Sequence[str], services: Mapping[str, Factory], settings: Settings) -> None:
        check(cygrpc)
        self.ports: list[int] = []
        self._addresses = addresses
        self._factories = {path.encode(): factory for path, factory in services.items()}
        self._settings = settings
        self._grace: float | None = None
        self._open = False
        self._pulse = Pulse()
        self._posting = RLock()  # reentrant: a signal handler may push, too

    def run(self, started: Callable[[], None]) -> None:
        """See ``Engine``."""
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(self._settings.channel_arguments(), False)
        self._server.register_completion_queue(self._queue)
        self.ports = [self._listen(address) for address in self._addresses]
        self._server.start()
        self._open = True
        for _ in range(_ARMED):
            self._server.request_call(self._queue, self._queue, _ACCEPT)
        try:
            started()
            self._serve()
        except BaseException:
            self._grace = 0
            self._serve()  # a server with open calls can't be freed
            raise

    def stop(self, grace: float) -> None:
        """See ``Engine``. The loop sees it within a fifth of a second."""
        self._grace = grace

    def post(self, call: Call, message: bytes) -> None:
        """Has the loop send a message of another thread's: a batch of nothing comes back at once, with its tag."""
        with self._posting:
            if self._open and (core := call.core) is not None:
                core.start_server_batch((), (call, message))

    def _listen(self, address: str) -> int:
        tls = self._settings.tls
        credentials = None if tls is None else server_credentials(tls)._credentials
        try:
            port = int(self._server.add_http2_port(address.encode(), credentials))
        except RuntimeError:  # so do newer servers of grpcio's say it
            port = 0
        if not port:
            raise SetupError(listening_refused(address))
        return port

    def _serve(self) -> None:
        """Until every call has ended after ``stop``. A failure of ours costs one stream, never the loop."""
        poll, now, clock, pulse = self._queue.poll, time.time, time.perf_counter, self._pulse
        ends: float | None = None
        while True:
            before = clock()
            # Every now and then a look that does not wait: nothing there means that we keep up.
            event = poll(0 if before - pulse.idle > PAUSE else now() + _TICK)
            tag = event.tag
            if tag is None or (after := clock()) - before > PAUSE:
                pulse.idle = clock() if tag is None else after
            try:
                if tag.__class__ is Call:
                    tag.received()
                elif tag is _ACCEPT:
                    if event.success:  # else we are stopping
                        self._accept(event, more=ends is None)
                elif tag.__class__ is tuple:
                    call, message = tag
                    _sent_or_pushed(call, message, event.success)
                elif tag is _STOPPED:
                    self._empty()
                    return
            except Exception:
                log.exception("the engine failed on an event")
                if (call := _of(tag)) is not None:
                    call.cancel()
            if self._grace is not None:
                ends = self._wind_up(ends)

    def _empty(self) -> None:
        """Every call has ended; what still comes out of the queue was under way then. Nothing more may be started: the
        core aborts the process when a batch comes to a queue that shuts down.
        """
        with self._posting:
            self._open = False
        self._queue.shutdown()
        while (event := self._queue.poll(time.time() + _TICK)).completion_type != _QUEUE_SHUTDOWN:
            if (call := _of(event.tag)) is not None:
                call.drop()

    def _wind_up(self, ends: float | None) -> float:
        """We are to stop; ``ends``: when the open streams' time is over, None if they have not been told."""
        if ends is None:
            ends = time.time() + (self._grace or 0)
            self._server.shutdown(self._queue, _STOPPED)
        elif time.time() >= ends:
            ends = math.inf
            self._server.cancel_all_calls()
        return ends

    def _accept(self, event: Any, more: bool) -> None:
        if more:
            self._server.request_call(self._queue, self._queue, _ACCEPT)
        factory = self._factories.get(event.call_details.method)
        Call(event.call, event.invocation_metadata, self._pulse, self.post).accept(factory)


def _of(tag: Any) -> Call | None:
    """The call that an event is about."""
    if tag.__class__ is tuple:
        tag = tag[0]
    return tag if tag.__class__ is Call else None


def _sent_or_pushed(call: Call, message: bytes | None, success: bool) -> None:
    if message is None:
        call.sent(success)
    else:
        call.pushed(message)


def check(core: Any) -> None:
    """Raises ``SetupError`` where grpcio's inner parts are not those that this engine knows."""
    missing = [name for name in NEEDED if not _has(core, name)]
    if missing:
        raise SetupError(
            f"the engine `queue` does not know the inner parts of grpcio {grpc.__version__} (no {', '.join(missing)}); "
            "choose the slower one on grpcio's public API with --engine aio, or install a grpcio between 1.71 and 1.85"
        )


def _has(core: Any, name: str) -> bool:
    for part in name.split("."):
        core = getattr(core, part, None)
    return core is not None
