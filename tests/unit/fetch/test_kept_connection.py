"""Questions on a connection that is kept, to real servers that end it, trickle, flood and lie."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from selectors import EVENT_READ

import pytest
import trustme

from extproc.fetch import steps
from extproc.fetch.kept_connection import BUFFER_SIZE, KeptConnection
from extproc.fetch.steps import Answer
from extproc.fetch.url import parse
from tests.hostile_server import CHUNKED, OK, HostileServer, dripping, flooding
from tests.page_server import PageServer
from tests.waiting import until

MAX_BODY = 1 << 20
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"


def ask(connection: KeptConnection, seconds: float = 5.0) -> Answer:
    """Asks, and takes steps until the answer has come."""
    connection.ask(time.monotonic() + seconds)
    while True:
        wait = connection.waits_for
        assert wait is not None
        poll = select.poll()
        poll.register(wait.connection, select.POLLIN if wait.event == EVENT_READ else select.POLLOUT)
        ready = poll.poll(max(0.0, wait.until - time.monotonic()) * 1000)
        answer = connection.step(None if ready else TimeoutError("timed out"))
        if answer is not None:
            return answer


def test_a_connection_is_kept() -> None:
    with PageServer(lambda _: ANSWER) as server:
        connection = KeptConnection(parse(server.url), MAX_BODY, bytearray(BUFFER_SIZE))
        assert [ask(connection) for _ in range(5)] == [Answer(200, b"abc")] * 5
        assert server.asked == [5]
        assert not connection.asking
        connection.close()
        assert connection.waits_for is None


def test_one_that_the_server_has_ended_is_opened_anew() -> None:
    with PageServer(lambda n: ANSWER if n < 3 else b"") as server:
        connection = KeptConnection(parse(server.url), MAX_BODY, bytearray(BUFFER_SIZE))
        assert [ask(connection) for _ in range(4)] == [Answer(200, b"abc")] * 4
        assert server.asked == [3, 2]
        connection.close()


def test_between_questions_the_end_of_a_connection_is_no_failure() -> None:
    with HostileServer(lambda: [ANSWER]) as server:
        connection = KeptConnection(parse(server.url), MAX_BODY, bytearray(BUFFER_SIZE))
        for _ in range(3):
            assert ask(connection) == Answer(200, b"abc")
            if connection.waits_for is not None:
                select.select([connection.waits_for.connection], [], [], 5)
                assert connection.step() is None
            assert connection.waits_for is None
        assert server.asked == 3


def test_an_answer_that_ends_the_connection_is_the_last_on_it() -> None:
    with HostileServer(lambda: [b"HTTP/1.1 200 OK\r\n\r\nabc"]) as server:
        connection = KeptConnection(parse(server.url), MAX_BODY, bytearray(BUFFER_SIZE))
        assert ask(connection) == ask(connection) == Answer(200, b"abc")
        assert connection.waits_for is None


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (lambda: HostileServer(list), "without an answer"),
        (lambda: HostileServer(lambda: [ANSWER[:-1]]), "breaks off"),
        (lambda: flooding(OK, b"x" * 65536), "more than 1024 KiB"),
        (lambda: flooding(CHUNKED, b"1\r\nx\r\n" * 1000), "too many pieces"),
        (lambda: flooding(b"", b"a: b\r\n" * 1000), "no HTTP|16 KiB"),
        (lambda: flooding(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"x" * 100), None),
        (dripping, "timed out"),
        (lambda: dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"), "timed out"),
    ],
)
def test_bad_answers_end_the_question_and_the_connection(server: Callable[[], HostileServer], why: str | None) -> None:
    with server() as bad:
        connection = KeptConnection(parse(bad.url), MAX_BODY, bytearray(BUFFER_SIZE))
        for asked in (1, 2):
            if why is None:  # what comes behind an answer is nobody's
                assert ask(connection) == Answer(200, b"x" * 9)
            else:
                with pytest.raises(OSError, match=why):
                    ask(connection, 0.05 if why == "timed out" else 5)
            assert connection.waits_for is None
            until(lambda: bad.asked >= asked)  # noqa: B023 - called at once; who gave up may be gone before it is served
            assert bad.asked == asked


def test_nobody_there_is_an_error_and_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    connection = KeptConnection(parse(url), MAX_BODY, bytearray(BUFFER_SIZE))
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            ask(connection)
        assert connection.waits_for is None


def test_a_name_that_is_looked_up_and_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(client_side)
    monkeypatch.setattr(steps, "_tls", lambda: client_side)
    body = b"x" * 100_000
    with HostileServer(lambda: [b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", body], tls=server_side) as server:
        connection = KeptConnection(
            parse(f"https://localhost:{server.address.rpartition(':')[2]}/"), MAX_BODY, bytearray(BUFFER_SIZE)
        )
        assert ask(connection) == Answer(200, body)
        connection.close()
