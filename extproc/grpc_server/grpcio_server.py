"""The engine on grpcio's asyncio server, by its public API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any, cast

from extproc.errors import cannot_listen
from extproc.grpc_server.contract import (
    CLIENT_DOES_NOT_READ,
    HANDLER_FAILED,
    IDLE_INTERVAL,
    MAX_MESSAGE,
    MAX_PUSHED,
    UNKNOWN_METHOD,
    Factory,
    Handler,
    LoopLag,
    Metadata,
    Settings,
)
from extproc.grpc_server.listeners import claim
from extproc.grpc_server.status import Abort, StatusCode
from extproc.grpc_server.tls import Certificates, PemFiles

# grpcio reads these when it is imported. Without the experiments the loop's own thread reads the sockets; with them a
# pool of threads does, and hands each message over. Children of ours never speak gRPC.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_callback_cq,-event_engine_listener")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

log = logging.getLogger(__name__)

_LAG_INTERVAL = 0.02
"""Seconds between two measurements of the loop's lag."""


class AioEngine:
    """See ``Engine``."""

    def __init__(self, addresses: Sequence[str], services: Mapping[str, Factory], settings: Settings) -> None:
        self.ports: list[int] = []
        self._addresses = addresses
        self._services = services
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._loop_lag = LoopLag()
        self._grace: float | None = None

    def run(self, started: Callable[[], None]) -> None:
        """See ``Engine``."""
        with asyncio.Runner() as runner:
            runner.run(self._main(started))

    def stop(self, grace: float) -> None:
        """See ``Engine``."""
        self._grace = grace
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def _main(self, started: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        services = _Services(self._services, self._loop_lag)
        server = grpc.aio.server(handlers=[services], options=_channel_arguments(self._settings))
        measuring = self._loop.create_task(self._measure_lag())
        try:
            self.ports = [self._listen(server, address) for address in self._addresses]
            await server.start()
            started()
            if self._grace is None:
                await self._stopping.wait()
        finally:
            measuring.cancel()
            await server.stop(self._grace or 0)
            del server  # grpcio finalises it on the loop, while there is one

    async def _measure_lag(self) -> None:
        """A loop that wakes this task in time had nothing else to do."""
        while True:
            due = perf_counter() + _LAG_INTERVAL
            await asyncio.sleep(_LAG_INTERVAL)
            if (now := perf_counter()) - due < IDLE_INTERVAL:
                self._loop_lag.last_idle = now

    def _listen(self, server: Any, address: str) -> int:
        claim(address)  # gRPC would take a unix socket away from a server that listens on it
        tls = self._settings.tls
        try:
            if tls is None:
                return int(server.add_insecure_port(address))
            return int(server.add_secure_port(address, _credentials(tls)))
        except RuntimeError:
            raise cannot_listen(address, "--listen") from None


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the factory of a method."""

    def __init__(self, services: Mapping[str, Factory], loop_lag: LoopLag) -> None:
        self._methods = {path: _method(_serve(factory, loop_lag)) for path, factory in services.items()}
        self._unknown = _method(_refuse)

    def service(self, handler_call_details: Any) -> Any:
        return self._methods.get(handler_call_details.method, self._unknown)


_Behavior = Callable[[Any, Any], Any]


def _method(behavior: _Behavior) -> Any:
    return grpc.stream_stream_rpc_method_handler(behavior)


async def _refuse(_: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, UNKNOWN_METHOD)


def _serve(factory: Factory, loop_lag: LoopLag) -> _Behavior:
    async def serve(_: Any, context: Any) -> None:
        sender = _StreamSender(context, loop_lag)
        failure: Abort | None = None
        handler: Handler | None = None
        try:
            handler = factory(sender)
            while not handler.done and (message := await context.read()) is not grpc.aio.EOF:
                for reply in handler.receive(message):
                    await sender.write(reply)
            if sender.replying is not None:
                await sender.replying  # messages that came meanwhile have ended the loop before it was sent
        except asyncio.CancelledError:
            if not sender.finished:
                raise
            sender.task.uncancel()
        except Abort as abort:
            failure = abort
        except Exception:
            if handler is None:
                log.exception("no handler could be made for a stream")
            failure = Abort(StatusCode.INTERNAL, HANDLER_FAILED)
        finally:
            sender.ended = True
            if handler is not None:
                handler.close()
        async with sender.write_lock:
            if failure is not None:
                await context.abort(grpc.StatusCode[failure.code.name], failure.details)

    return serve


class _StreamSender:
    """The sender of one stream: gRPC allows one write at a time."""

    def __init__(self, context: Any, loop_lag: LoopLag) -> None:
        self.loop_lag = loop_lag
        self.write_lock = asyncio.Lock()
        self.ended = False
        self.finished = False
        """``reply`` has sent the last of what there is to send, and has cancelled the task."""
        self.replying: asyncio.Task[None] | None = None
        """Sends what ``reply`` was given last."""
        self.task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Task[None]] = set()

    async def write(self, message: bytes) -> None:
        async with self.write_lock:
            await self._context.write(message)

    @property
    def metadata(self) -> Metadata:
        """As a ``Sender``."""
        return tuple(self._context.invocation_metadata() or ())

    def __call__(self, message: bytes) -> None:
        """As a ``Sender``."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._start, message)

    def end(self, abort: Abort) -> None:
        """As a ``Sender``."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._start, abort)

    def reply(self, replies: Sequence[bytes], *, done: bool) -> None:
        """As a ``Sender``."""
        if not self.ended:
            self.replying = self._follow(self._reply(replies, done=done))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """As a ``Sender``."""
        self._loop.call_later(seconds, callback)

    def _start(self, message: bytes | Abort) -> None:
        if not self.ended:
            self._follow(self._abort(message) if isinstance(message, Abort) else self._push(message))

    def _follow(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return task

    async def _reply(self, replies: Sequence[bytes], *, done: bool) -> None:
        with contextlib.suppress(Exception):  # the client has just left
            for reply in replies:
                await self.write(reply)
        if done and not self.ended:
            self.finished = True
            self.task.cancel()  # it waits for messages that nobody needs any more

    async def _abort(self, abort: Abort) -> None:
        with contextlib.suppress(Exception):
            await self._context.abort(grpc.StatusCode[abort.code.name], abort.details)

    async def _push(self, message: bytes) -> None:
        if len(self._waiting) > MAX_PUSHED:
            with contextlib.suppress(Exception):
                await self._context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, CLIENT_DOES_NOT_READ)
            return
        async with self.write_lock:
            if not self.ended:
                with contextlib.suppress(Exception):  # the client has just left
                    await self._context.write(message)


def _channel_arguments(settings: Settings) -> list[tuple[str, int]]:
    """The settings as channel arguments of grpcio."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share
        ("grpc.keepalive_time_ms", int(settings.keepalive * 1000)),
        # gRPC waits this long for the answer to a ping, whatever keepalive says.
        ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout * 1000)),
        ("grpc.http2.ping_timeout_ms", int(settings.keepalive_timeout * 1000)),
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),  # Envoys may ask for signs of life as often as they like
        ("grpc.http2.bdp_probe", 0),
        ("grpc.enable_channelz", 0),
        # A burst of streams waits a moment; it must not turn into errors.
        ("grpc.server.max_pending_requests", 1 << 20),
        ("grpc.server.max_pending_requests_hard_limit", 1 << 20),
        ("grpc.server_max_unrequested_time_in_server", 3600),
    ]


def _credentials(certificates: Certificates) -> Any:
    """Re-read at every new connection; open ones keep what they have."""
    return grpc.dynamic_ssl_server_credentials(
        _configuration(certificates.current), lambda: _changed(certificates), certificates.client_certificate_required
    )


def _changed(certificates: Certificates) -> Any:
    fresh = certificates.refresh()
    return None if fresh is None else _configuration(fresh)


def _configuration(pems: PemFiles) -> Any:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.client_ca)
