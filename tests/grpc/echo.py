"""A service for tests of the engine, and requests that are sent one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread

from extproc.grpc_server import Abort, LoopLag, Metadata, Sender, StatusCode
from extproc.grpc_server.contract import MAX_PUSHED

ECHO = "/test.Service/Echo"


class Echo:
    """Answers as the message says; notes what happens to it."""

    def __init__(self, send: Sender, log: list[str]) -> None:
        self.done = False
        self._send = send
        self._log = log

    def receive(self, message: bytes) -> Sequence[bytes]:
        match message.split(b":")[0]:
            case b"twice":
                return (message, message)
            case b"nothing":
                return ()
            case b"end":
                self.done = True
                return (message,)
            case b"fail":
                raise ValueError("secret of the server's")
            case b"who":
                return [value for key, value in self._send.metadata if key == "x-bin" and isinstance(value, bytes)]
            case b"abort":
                raise Abort(StatusCode.NOT_FOUND, "not here")
            case b"later" | b"ended" as what:
                Thread(target=self._push if what == b"later" else self._cut, args=(3,)).start()
                return ()
            case b"flood":
                self._push(2 * MAX_PUSHED, b"x" * 10_000)
                return ()
            case b"big":
                return [b"%d" % n * (1 << 20) for n in range(4)]
            case b"last words":
                self.done = True
                return [b"one", b"two", b"three"]
            case b"answer and push":
                self._push(2)
                return (message,)
            case _:
                return (message,)

    def _push(self, count: int, padding: bytes = b"") -> None:
        for n in range(count):
            self._send(b"pushed %d" % n + padding)

    def _cut(self, times: int) -> None:
        for n in range(times):
            self._send.end(Abort(StatusCode.RESOURCE_EXHAUSTED, f"for others, {n}"))
            self._send(b"too late")

    def close(self) -> None:
        self._log.append("closed")
        if self._log[0] == "fail on close":
            raise ValueError("on close")


class Delayed(Echo):
    """Answers some of its messages later: as many replies of a mebibyte as the message says."""

    def receive(self, message: bytes) -> Sequence[bytes]:
        if not message.startswith(b"delayed"):
            return super().receive(message)
        self._send.call_later(0.01, lambda: self._reply(message))
        return ()

    def _reply(self, message: bytes) -> None:
        what, _, count = message.partition(b":")
        self.done = what == b"delayed"
        self._send.reply([b"x" * (1 << 20)] * int(count), done=self.done)


class Feed:
    """Requests that are sent one by one while the stream is open."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._queue.get, None)

    def send(self, message: bytes) -> None:
        self._queue.put(message)

    def half_close(self) -> None:
        self._queue.put(None)


class PlainSender:
    """Of a stream to which no messages are sent; ``ended`` is called where the handler ends it."""

    metadata: Metadata = ()
    loop_lag = LoopLag()

    def __init__(self, ended: Callable[[Abort], None] = lambda _: None) -> None:
        self._ended = ended

    def __call__(self, message: bytes) -> None:
        raise AssertionError(message)

    def end(self, abort: Abort) -> None:
        self._ended(abort)

    def reply(self, replies: Sequence[bytes], *, done: bool) -> None:
        raise AssertionError(replies, done)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        raise AssertionError(seconds, callback)
