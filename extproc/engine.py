"""The gRPC server: streams of bytes in, streams of bytes out. Floor 5; the one place that knows grpcio.

It knows nothing of messages. A service is a path and a factory of handlers, one handler per stream; unary calls are
streams of one message. Another engine needs only this file's interface: ``Engine`` and what it asks of a handler.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import grpc
from grpc import StatusCode

from extproc.errors import SetupError

__all__ = ["Abort", "Engine", "Factory", "Handler", "Sender", "StatusCode"]

MAX_MESSAGE = 64 << 20
"""Bytes of one gRPC message: above every body limit that a policy can set for a body sent whole."""


class Abort(Exception):  # noqa: N818
    """Ends a stream with another status than OK or INTERNAL."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Handler(Protocol):
    """One stream. Called by one thread only."""

    done: bool
    """Set by ``receive``: end the stream with status OK after its replies."""

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Replies to one message, in order. ``Abort``, or any exception (INTERNAL), ends the stream."""

    def close(self) -> None:
        """Called exactly once, however the stream ended."""


class Sender(Protocol):
    """Lets a handler send without having received; may be called from any thread."""

    def __call__(self, message: bytes) -> None:
        """Queues one message; dropped when the stream has ended."""


Factory = Callable[[Sender], Handler]


class Engine:
    """A server on grpcio's asyncio API."""

    def __init__(self, addresses: Sequence[str], services: Mapping[str, Factory]) -> None:
        """``addresses``: ``host:port`` (0: any) or ``unix:///path``. ``services``: by method path."""
        self.ports: list[int] = []
        self._addresses = addresses
        self._services = services
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._grace = 0.0

    def run(self, started: Callable[[], None]) -> None:
        """Serves until ``stop``; calls ``started`` once it accepts. Raises ``SetupError`` where it can't listen."""
        with asyncio.Runner() as runner:
            runner.run(self._main(started))

    def stop(self, grace: float) -> None:
        """No new streams from now on; open ones may finish within ``grace`` seconds. Safe in signal handlers."""
        if self._loop is not None and self._stopping is not None:
            self._grace = grace
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def _main(self, started: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = grpc.aio.server(
            handlers=[_Services(self._services)],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.max_send_message_length", MAX_MESSAGE),
                ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ],
        )
        for address in self._addresses:
            try:
                self.ports.append(server.add_insecure_port(address))
            except RuntimeError:
                raise SetupError(
                    f"cannot listen on {address}: it is taken or not allowed; stop what uses it, or choose another "
                    "address with --listen"
                ) from None
        await server.start()
        started()
        await self._stopping.wait()
        await server.stop(self._grace)


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the factory of a method; grpcio answers UNIMPLEMENTED where there is none."""

    def __init__(self, services: Mapping[str, Factory]) -> None:
        self._methods = {
            path: grpc.stream_stream_rpc_method_handler(_behavior(factory)) for path, factory in services.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        return self._methods.get(handler_call_details.method)


def _behavior(factory: Factory) -> Callable[[Any, Any], Any]:
    async def serve(_: Any, context: Any) -> None:
        loop = asyncio.get_running_loop()
        turn = asyncio.Lock()  # gRPC allows one outstanding write
        pushing: set[asyncio.Task[None]] = set()
        failure: Abort | None = None
        ended = False

        async def push(message: bytes) -> None:
            async with turn:
                if not ended:
                    with contextlib.suppress(Exception):  # the client has just left
                        await context.write(message)

        def start(message: bytes) -> None:
            task = loop.create_task(push(message))
            pushing.add(task)
            task.add_done_callback(pushing.discard)

        def send(message: bytes) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(start, message)

        handler = factory(send)
        try:
            while not handler.done and (message := await context.read()) is not grpc.aio.EOF:
                for reply in handler.receive(message):
                    async with turn:
                        await context.write(reply)
        except Abort as abort:
            failure = abort
        except Exception:
            failure = Abort(StatusCode.INTERNAL, "the processor failed on a message")
        finally:
            ended = True
            handler.close()
        async with turn:
            if failure is not None:
                await context.abort(failure.code, failure.details)

    return serve
