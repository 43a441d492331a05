"""One call on the completion queue: what may go out when, and how it ends. Floor 5: may import floors 0 to 4.

A call reads on only when it has sent what it was asked to send, so a client that does not read is not read from, and
neither side of a stream can grow. Only ``__call__`` may be called by another thread than the loop's.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from grpc._cython import cygrpc

from extproc.engine.contract import (
    BACKLOG,
    BEHIND,
    FAILED,
    UNKNOWN,
    Abort,
    Factory,
    Handler,
    Metadata,
    Pulse,
    StatusCode,
)

log = logging.getLogger(__name__)

_Headers, _Status = cygrpc.SendInitialMetadataOperation, cygrpc.SendStatusFromServerOperation
_Receive, _Send, _Close = (
    cygrpc.ReceiveMessageOperation,
    cygrpc.SendMessageOperation,
    cygrpc.ReceiveCloseOnServerOperation,
)
_OK: int = StatusCode.OK.value[0]


class Call:
    """A stream. ``core`` is grpcio's call, None once we have said our last word."""

    __slots__ = (
        *("_alternates", "_begun", "_finishing", "_handler", "_held", "_out", "_post", "_receive", "_sending"),
        *("core", "metadata", "pulse"),
    )

    def __init__(self, core: Any, metadata: Metadata, pulse: Pulse, post: Callable[[Call, bytes], None]) -> None:
        """``post(call, message)`` has the loop call ``pushed``, from whatever thread."""
        self.core: Any = core
        self.metadata = metadata
        self.pulse = pulse
        self._post = post
        self._handler: Handler | None = None
        self._receive: Any = None  # the receive that is under way
        self._held: Any = None  # a finished receive, while something must be sent first
        self._out: deque[bytes] | None = None  # what waits for the send that is under way
        self._alternates = False  # the handler speaks only when spoken to
        self._begun = False  # the headers are out
        self._sending = False
        self._finishing = False  # the handler is done; what waits goes out first

    def accept(self, factory: Factory | None) -> None:
        """The call is new."""
        if factory is None:
            self._end(StatusCode.UNIMPLEMENTED.value[0], UNKNOWN)
            return
        try:
            handler = self._handler = factory(self)
        except Abort as abort:
            self._end(abort.code.value[0], abort.details)
        except Exception:
            log.exception("no handler could be made for a stream")
            self._end(StatusCode.INTERNAL.value[0], FAILED)
        else:
            self._alternates = not handler.pushes
            self._read()

    def __call__(self, message: bytes) -> None:
        """As a ``Sender``."""
        self._post(self, message)

    def pushed(self, message: bytes) -> None:
        """A message of another thread's, sent by calling this, has come to the loop."""
        if self.core is None or self._finishing:
            return
        if self._out is not None and len(self._out) >= BACKLOG:
            self._end(StatusCode.RESOURCE_EXHAUSTED.value[0], BEHIND)
        else:
            self._send((message,))

    def received(self) -> None:
        """A receive has finished: with a message, or with None when the client has no more to say or is gone."""
        if self.core is None:
            return
        if self._sending:
            self._held = self._receive
        else:
            self._take(self._receive.message())

    def sent(self, success: bool) -> None:
        """A send has finished."""
        self._sending = False
        if self.core is None:
            return
        if not success:  # the client is gone
            self._end(_OK, "")
        elif self._out:
            self._send(())
        elif self._finishing:
            self._end(_OK, "")
        elif self._held is not None:
            held, self._held = self._held, None
            self._take(held.message())

    def cancel(self) -> None:
        """Breaks it off; for failures of our own."""
        if (core := self.core) is not None:
            self._close()
            core.cancel()

    def drop(self) -> None:
        """The server is gone, and the call with it."""
        self._close()

    def _take(self, message: bytes | None) -> None:
        handler = self._handler
        if message is None or handler is None:
            self._end(_OK, "")
            return
        try:
            replies = handler.receive(message)
        except Abort as abort:
            self._end(abort.code.value[0], abort.details)
        except Exception:  # the handler tells what it was
            self._end(StatusCode.INTERNAL.value[0], FAILED)
        else:
            self._answer(replies, handler.done)

    def _answer(self, replies: Sequence[bytes], done: bool) -> None:
        if done and len(replies) <= 1:  # the usual end: everything in one write
            self._end(_OK, "", *replies)
            return
        if self._alternates and not done and len(replies) == 1:
            self._read(_Send(replies[0], 0))
            return
        if replies:
            self._finishing = done
            self._send(replies)
        if not done:
            self._read()

    def _read(self, *before: Any) -> None:
        """``before``: what is sent in the same batch; then nothing else may be sent until something was received."""
        self._receive = _Receive(0)
        self._start((*before, self._receive), self)

    def _send(self, messages: Sequence[bytes]) -> None:
        """One now if none is under way, the others after it."""
        out = self._out
        if out is None:
            if len(messages) == 1 and not self._sending:
                self._sending = True
                self._start((_Send(messages[0], 0),), (self, None))
                return
            out = self._out = deque()
        out.extend(messages)
        if self._sending:
            return
        head = out.popleft()
        if self._finishing and not out:
            self._end(_OK, "", head)
        else:
            self._sending = True
            self._start((_Send(head, 0),), (self, None))

    def _end(self, code: int, details: str, *last: bytes) -> None:
        """The status with the last reply, if there is one."""
        operations = (*(_Send(message, 0) for message in last), _Status(None, code, details.encode(), 0), _Close(0))
        self._start(operations, None)
        self._close()

    def _start(self, operations: tuple[Any, ...], tag: object) -> None:
        if not self._begun and operations[0].__class__ is not _Receive:
            self._begun = True
            operations = (_Headers(None, 0), *operations)  # the headers travel with the first reply
        if error := self.core.start_server_batch(operations, tag):
            raise RuntimeError(f"grpcio refuses a batch of operations: error {error}")

    def _close(self) -> None:
        handler, self._handler, self.core = self._handler, None, None
        if handler is not None:
            try:
                handler.close()
            except Exception:
                log.exception("a handler failed to close")
