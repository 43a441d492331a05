"""The engine's contract: what any engine in its place must do, seen by a gRPC client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest

from extproc.errors import SetupError
from extproc.grpc_server import ENGINES, MAX_MESSAGE, Abort, Handler, Name, Sender, StatusCode, create
from tests.grpc.echo import ECHO, Delayed, Echo, Feed
from tests.grpc.running import running
from tests.waiting import until


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def echo(log: list[str], engine: Name) -> Iterator[Any]:
    with running({ECHO: lambda send: Echo(send, log)}, engine=engine) as server:
        yield server


@pytest.fixture
def delayed(log: list[str], engine: Name) -> Iterator[Any]:
    with running({ECHO: lambda send: Delayed(send, log)}, engine=engine) as server:
        yield server


def test_messages_and_replies_in_order(echo: Any, log: list[str]) -> None:
    assert list(echo.open(ECHO)(iter([b"a", b"nothing", b"twice:1", b"b"]))) == [b"a", b"twice:1", b"twice:1", b"b"]
    until(lambda: log == ["closed"])


def test_the_metadata_that_a_stream_began_with(echo: Any) -> None:
    metadata = (("x-bin", b"\x00one"), ("other", "two"), ("x-bin", b"three"))
    assert list(echo.open(ECHO)(iter([b"who"]), metadata=metadata)) == [b"\x00one", b"three"]
    assert list(echo.open(ECHO)(iter([b"who", b"a"]))) == [b"a"]


def test_the_handler_ends_the_stream(echo: Any, log: list[str]) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    feed.send(b"end")
    assert list(call) == [b"end"]
    assert call.code() is grpc.StatusCode.OK
    feed.half_close()
    until(lambda: log == ["closed"])


def test_a_reply_that_comes_later_ends_the_stream_when_it_is_read(delayed: Any, log: list[str]) -> None:
    for count in (0, 1, 5):
        feed = Feed()
        call = delayed.open(ECHO)(iter(feed))
        feed.send(b"delayed:%d" % count)
        assert [len(reply) for reply in call] == [1 << 20] * count
        assert call.code() is grpc.StatusCode.OK
        feed.half_close()
        until(lambda: log == ["closed"])
        log.clear()


def asking_until(answered: Event) -> Iterator[bytes]:
    yield b"delayed:1"
    while not answered.is_set():
        yield b"nothing"


def test_a_reply_that_comes_later_is_sent_whatever_comes_meanwhile(delayed: Any) -> None:
    for _ in range(4):
        answered = Event()
        replies = list(delayed.open(ECHO)(asking_until(answered)))
        answered.set()
        assert len(replies) == 1


def test_a_stream_goes_on_after_a_reply_that_came_later(delayed: Any) -> None:
    feed = Feed()
    call = delayed.open(ECHO)(iter(feed))
    feed.send(b"delayed part:1")
    assert len(next(call)) == 1 << 20
    feed.send(b"a")
    assert next(call) == b"a"
    feed.half_close()
    assert list(call) == []


def test_a_reply_that_comes_after_the_client_has_left(delayed: Any, log: list[str]) -> None:
    feed = Feed()
    call = delayed.open(ECHO)(iter(feed))
    feed.send(b"a")
    assert next(call) == b"a"
    feed.send(b"delayed:1")
    call.cancel()
    feed.half_close()
    until(lambda: log == ["closed"])
    assert list(delayed.open(ECHO)(iter([b"end"]))) == [b"end"]


def test_pushed_from_another_thread(echo: Any) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    feed.send(b"later")
    assert [next(call) for _ in range(3)] == [b"pushed 0", b"pushed 1", b"pushed 2"]
    feed.half_close()


def test_ended_from_another_thread(echo: Any, log: list[str]) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    feed.send(b"twice")
    assert [next(call), next(call)] == [b"twice", b"twice"]
    feed.send(b"ended")
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "for others, 0"
    until(lambda: log == ["closed"])
    feed.half_close()
    assert list(echo.open(ECHO)(iter([b"end"]))) == [b"end"]


def test_pushing_to_a_stream_that_is_gone_does_no_harm(echo: Any, log: list[str]) -> None:
    for _ in range(20):
        assert list(echo.open(ECHO)(iter([b"later", b"end"])))[-1] in (b"end", b"pushed 0", b"pushed 1", b"pushed 2")
    until(lambda: len(log) == 20)
    assert list(echo.open(ECHO)(iter([b"a"]))) == [b"a"]


@pytest.mark.parametrize(
    ("message", "code", "details"),
    [
        (b"fail", StatusCode.INTERNAL, "the processor failed on a message"),
        (b"abort", StatusCode.NOT_FOUND, "not here"),
    ],
)
def test_failures_end_the_stream_and_tell_no_secrets(
    echo: Any, log: list[str], message: bytes, code: StatusCode, details: str
) -> None:
    call = echo.open(ECHO)(iter([b"a", message, b"b"]))
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert (caught.value.code().value[0], caught.value.details()) == (code, details)
    until(lambda: log == ["closed"])


def test_an_unknown_method(echo: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(echo.open("/test.Service/Nothing")(iter([b"a"])))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_cancelled_stream_is_closed_once(echo: Any, log: list[str]) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    feed.send(b"a")
    assert next(call) == b"a"
    call.cancel()
    until(lambda: log)
    assert list(echo.open(ECHO)(iter([b"a"]))) == [b"a"]
    until(lambda: log == ["closed", "closed"])


def test_a_broken_connection_closes_its_streams(echo: Any, log: list[str]) -> None:
    feed = Feed()
    with grpc.insecure_channel(echo.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.stream_stream(ECHO)(iter(feed))
        feed.send(b"a")
        assert next(call) == b"a"
    until(lambda: log == ["closed"])


def test_large_messages_and_too_large_ones(echo: Any) -> None:
    large = b"x" * (10 << 20)
    assert list(echo.open(ECHO)(iter([large]))) == [large]
    with pytest.raises(grpc.RpcError) as caught:
        list(echo.open(ECHO)(iter([b"x" * (MAX_MESSAGE + 1)])))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_many_streams_at_once(echo: Any, log: list[str]) -> None:
    feeds = [Feed() for _ in range(100)]
    calls = [echo.open(ECHO)(iter(feed)) for feed in feeds]
    for n, feed in enumerate(feeds):
        feed.send(b"%d" % n)
    assert [next(call) for call in calls] == [b"%d" % n for n in range(100)]
    assert log == []
    for feed in feeds:
        feed.half_close()
    until(lambda: len(log) == 100)


def test_a_unix_socket(tmp_path: Path, log: list[str], engine: Name) -> None:
    with running({ECHO: lambda send: Echo(send, log)}, f"unix://{tmp_path}/s.sock", engine) as server:
        assert list(server.open(ECHO)(iter([b"a"]))) == [b"a"]


def test_a_taken_port_is_told_clearly(echo: Any, engine: Name) -> None:
    with (
        pytest.raises(SetupError, match=r"cannot listen on 127\.0\.0\.1:\d+.*--listen"),
        running({}, echo.address, engine),
    ):
        pass


def test_stopping_lets_open_streams_finish_and_takes_no_new_ones(echo: Any, log: list[str]) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    feed.send(b"a")
    assert next(call) == b"a"
    echo.engine.stop(20)

    def refused() -> bool:
        with grpc.insecure_channel(echo.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                return not list(channel.stream_stream(ECHO)(iter([b"new"]), timeout=1))
            except grpc.RpcError as error:
                return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

    until(refused)
    feed.send(b"b")
    assert next(call) == b"b"
    feed.half_close()
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK
    echo.thread.join(5)
    assert not echo.thread.is_alive()


def test_stopping_ends_stuck_streams_when_the_grace_is_over(echo: Any, log: list[str]) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    feed.send(b"a")
    assert next(call) == b"a"
    echo.engine.stop(0.2)
    with pytest.raises(grpc.RpcError):
        list(call)
    echo.thread.join(5)
    assert not echo.thread.is_alive()
    assert log == ["closed"]
    feed.half_close()


def test_stopped_before_it_runs(engine: Name) -> None:
    server = create(["127.0.0.1:0"], {}, name=engine)
    server.stop(10)
    server.run(lambda: None)
    assert server.ports[0] > 0


def test_a_failure_to_begin_ends_it(engine: Name) -> None:
    server = create(["127.0.0.1:0"], {}, name=engine)

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        server.run(fail)


def test_several_last_words(echo: Any, log: list[str]) -> None:
    call = echo.open(ECHO)(iter([b"last words", b"a"]))
    assert list(call) == [b"one", b"two", b"three"]
    assert call.code() is grpc.StatusCode.OK
    until(lambda: log == ["closed"])


def test_pushed_and_answered(echo: Any) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    for _ in range(20):
        feed.send(b"answer and push")
        assert {next(call) for _ in range(3)} == {b"answer and push", b"pushed 0", b"pushed 1"}
    feed.half_close()
    assert list(call) == []


def test_a_slow_reader_gets_everything_in_order(echo: Any) -> None:
    call = echo.open(ECHO)(iter([b"big"] * 8 + [b"end"]))
    got = []
    for message in call:
        got.append((message[:1], len(message)))
        time.sleep(0.001)
    assert got == [(b"%d" % n, 1 << 20) for n in range(4)] * 8 + [(b"e", 3)]


def test_a_client_that_does_not_read_is_not_read_from(echo: Any, log: list[str]) -> None:
    """What it sends waits on its own side: we take a message once we have sent the answers to the one before."""
    sent = 0

    def requests() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(400):
            sent += 1
            yield b"x" * (1 << 20)

    call = echo.open(ECHO)(requests())
    until(lambda: sent > 1)
    before = -1
    while before != sent:
        before = sent
        time.sleep(0.3)
    assert sent < 100
    call.cancel()
    until(lambda: log == ["closed"])


def test_one_that_never_reads_loses_its_stream(echo: Any, log: list[str]) -> None:
    feed = Feed()
    call = echo.open(ECHO)(iter(feed))
    feed.send(b"flood")
    until(lambda: log == ["closed"])
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "the client does not read what it is sent"
    feed.half_close()


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (Abort(StatusCode.RESOURCE_EXHAUSTED, "full"), StatusCode.RESOURCE_EXHAUSTED, "full"),
        (ValueError("secret"), StatusCode.INTERNAL, "the processor failed on a message"),
    ],
)
def test_a_factory_may_refuse(engine: Name, error: Exception, code: StatusCode, details: str) -> None:
    def factory(_: Sender) -> Handler:
        raise error

    with running({ECHO: factory}, engine=engine) as server, pytest.raises(grpc.RpcError) as caught:
        list(server.open(ECHO)(iter([b"a"])))
    assert (caught.value.code().value[0], caught.value.details()) == (code, details)


def test_a_handler_that_fails_to_close_harms_nobody(echo: Any, log: list[str]) -> None:
    log.append("fail on close")
    call = echo.open(ECHO)(iter([b"a"]))
    assert next(call) == b"a"
    until(lambda: log[1:] == ["closed"])
    assert next(echo.open(ECHO)(iter([b"a"]))) == b"a"


def test_a_deadline_of_the_clients_closes_its_stream(echo: Any, log: list[str]) -> None:
    feed = Feed()
    with pytest.raises(grpc.RpcError) as caught:
        list(echo.open(ECHO)(iter(feed), timeout=0.1))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: log == ["closed"])
    feed.half_close()
