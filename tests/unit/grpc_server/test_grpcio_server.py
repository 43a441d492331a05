"""The engine on grpcio: a client of grpcio's own on loopback, and what it is told to grpcio."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest

from extproc.errors import SetupError
from extproc.grpc_server import Abort, Sender, Settings, StatusCode, create
from extproc.grpc_server.grpcio_server import AioEngine, _channel_arguments
from tests.grpc.echo import Feed
from tests.grpc.running import running
from tests.http2.served import Noted
from tests.waiting import until

PATH = "/test.Service/Echo"


def call(factory: Any, *messages: bytes, **options: Any) -> list[bytes]:
    with running({PATH: factory}, engine="aio") as server:
        return list(server.open(PATH)(iter(messages), timeout=10, **options))


def test_messages_and_the_end_of_a_handler() -> None:
    assert call(Noted, b"a", b"two:", b"none", b"end:", b"never heard") == [b"a", b"two:", b"two:", b"end:"]


@pytest.mark.parametrize(
    ("message", "code", "details"),
    [
        (b"say:no", grpc.StatusCode.NOT_FOUND, "no"),
        (b"bad:", grpc.StatusCode.INTERNAL, "the processor failed on a message"),
    ],
)
def test_statuses(message: bytes, code: grpc.StatusCode, details: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(Noted, message)
    assert (caught.value.code(), caught.value.details()) == (code, details)


def test_an_unknown_method() -> None:
    with running({PATH: Noted}, engine="aio") as server, pytest.raises(grpc.RpcError) as caught:
        list(server.open("/test.Service/Other")(iter([b""]), timeout=10))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "unknown method")


def test_a_factory_that_refuses_and_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: Sender) -> None:
        raise Abort(StatusCode.UNAVAILABLE, "not now")

    def fail(_: Sender) -> None:
        raise ValueError("secret")

    for factory, code in ((refuse, grpc.StatusCode.UNAVAILABLE), (fail, grpc.StatusCode.INTERNAL)):
        with pytest.raises(grpc.RpcError) as caught:
            call(factory, b"a")
        assert caught.value.code() is code
        assert "secret" not in caught.value.details()
    assert "no handler could be made for a stream" in caplog.text


class Pusher:
    """Sends, or ends its stream, from another thread."""

    done = False

    def __init__(self, send: Sender) -> None:
        self.send, self.closed = send, 0

    def receive(self, message: bytes) -> Sequence[bytes]:
        if message == b"end":
            Thread(target=self.send.end, args=(Abort(StatusCode.RESOURCE_EXHAUSTED, "enough"),)).start()
        else:
            Thread(target=self._push, args=(message,)).start()
        return ()

    def _push(self, message: bytes) -> None:
        for n in range(3):
            self.send(message + b"%d" % n)

    def close(self) -> None:
        self.closed += 1


def test_what_is_sent_from_another_thread_comes_in_order() -> None:
    with running({PATH: Pusher}, engine="aio") as server:
        feed = Feed()
        feed.send(b"x")
        stream = server.open(PATH)(iter(feed), timeout=10)
        assert [next(stream) for _ in range(3)] == [b"x0", b"x1", b"x2"]
        feed.send(b"end")
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        feed.half_close()
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")


def test_what_is_sent_after_the_end_is_dropped() -> None:
    pushers: list[Pusher] = []

    class Brief(Pusher):
        def __init__(self, send: Sender) -> None:
            super().__init__(send)
            pushers.append(self)

        def receive(self, message: bytes) -> Sequence[bytes]:
            self.done = True
            return (message,)

    assert call(Brief, b"a") == [b"a"]
    pushers[0].send(b"late")  # the loop has ended, too
    pushers[0].send.end(Abort(StatusCode.INTERNAL, "late"))
    assert pushers[0].closed == 1


def test_metadata_of_the_request() -> None:
    seen: list[Any] = []

    def factory(send: Sender) -> Noted:
        seen.extend(send.metadata)
        return Noted(send)

    call(factory, b"end:", metadata=[("x", "1"), ("y-bin", b"\0\xff")])
    assert [pair for pair in seen if pair[0] in ("x", "y-bin")] == [("x", "1"), ("y-bin", b"\0\xff")]


def test_an_idle_loop_has_no_lag_and_a_busy_one_has() -> None:
    lags: list[float] = []

    class Busy(Noted):
        def __init__(self, send: Sender) -> None:
            super().__init__(send)
            self.lag = send.loop_lag

        def receive(self, message: bytes) -> Sequence[bytes]:
            if message == b"work":
                time.sleep(0.2)
            lags.append(self.lag.seconds(time.perf_counter()))
            return (message,)

    with running({PATH: Busy}, engine="aio") as server:
        engine = server.engine
        assert isinstance(engine, AioEngine)
        list(server.open(PATH)(iter([b"work"]), timeout=10))
        assert max(lags) >= 0.2
        before = engine._loop_lag.last_idle
        until(lambda: engine._loop_lag.last_idle > before)


def test_addresses_that_cannot_be_listened_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        engine = create([f"127.0.0.1:{taken.getsockname()[1]}"], {}, Settings(), "aio")
        with pytest.raises(SetupError, match="cannot listen on"):
            engine.run(lambda: None)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        with pytest.raises(SetupError, match="another server listens there"):
            create([f"unix://{tmp_path}/s"], {}, Settings(), "aio").run(lambda: None)
        assert (tmp_path / "s").exists()


def test_stopped_before_it_runs() -> None:
    engine = create(["127.0.0.1:0"], {PATH: Noted}, Settings(), "aio")
    started: list[None] = []
    engine.stop(0)
    engine.run(lambda: started.append(None))
    assert started == [None]
    assert engine.ports[0] > 0
    engine.stop(0)


def test_seconds_are_milliseconds_for_grpcio() -> None:
    arguments = dict(_channel_arguments(Settings(keepalive=1.5, keepalive_timeout=0.25)))
    assert arguments["grpc.keepalive_time_ms"] == 1_500
    assert arguments["grpc.keepalive_timeout_ms"] == arguments["grpc.http2.ping_timeout_ms"] == 250
    assert arguments["grpc.so_reuseport"] == 0
    assert arguments["grpc.max_receive_message_length"] == 64 << 20
