"""Queries to a server that may say anything: one number, or why there is none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from extproc.fetch import prometheus_query
from extproc.fetch.prometheus_query import MAX_ANSWER, Question, UnusableAnswerError, ask
from tests.hostile_server import CHUNKED, OK, dripping, flooding
from tests.waiting import until


class Handler(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Handler.asked.append(self.path)
        self.send_response(Handler.status)
        self.send_header("content-length", str(len(Handler.body)))
        self.end_headers()
        self.wfile.write(Handler.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        Handler.status, Handler.asked = 200, []
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def says(kind: str, result: object) -> None:
    Handler.body = json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


@pytest.mark.parametrize(
    ("kind", "result", "value"),
    [
        ("scalar", [1700000000.5, "0.25"], 0.25),
        ("vector", [{"metric": {"a": "b"}, "value": [1700000000, "-3"]}], -3.0),
    ],
)
def test_one_number(server: str, kind: str, result: object, value: float) -> None:
    says(kind, result)
    assert ask(f"{server}/prefix", 'up{a="b"} & x') == value
    (path,) = Handler.asked
    assert urlsplit(path).path == "/prefix/api/v1/query"
    assert parse_qs(urlsplit(path).query) == {"query": ['up{a="b"} & x']}


@pytest.mark.parametrize(
    ("kind", "result", "why"),
    [
        ("vector", [], "gives a vector of 0"),
        ("vector", [{"value": [1, "1"]}] * 2, "gives a vector of 2"),
        ("matrix", [{"values": [[1, "1"]]}], "gives a matrix of 1"),
        ("scalar", [1, "NaN"], "the value is NaN"),
        ("scalar", [1, "+Inf"], "the value is"),
        ("scalar", [1, "one"], "the answer is not Prometheus'"),
        ("scalar", ["1"], "the answer is not Prometheus'"),
        ("vector", [{"value": 7}], "the answer is not Prometheus'"),
        ("vector", 7, "the answer is not Prometheus'"),
    ],
)
def test_answers_without_a_number(server: str, kind: str, result: object, why: str) -> None:
    says(kind, result)
    with pytest.raises(UnusableAnswerError, match=why):
        ask(server, "up")


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>", "the answer is not Prometheus'"),
        (200, b'{"data": {}}', "the answer is not Prometheus'"),
        (200, b" " * (MAX_ANSWER + 1), "the answer has more than 64 KiB"),
        (302, b"", "answers with status 302"),
        (503, b"", "answers with status 503"),
    ],
)
def test_answers_of_others(server: str, status: int, body: bytes, why: str) -> None:
    Handler.status, Handler.body = status, body
    with pytest.raises(UnusableAnswerError, match=why):
        ask(server, "up")


def test_nobody_there() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as gone:
        address = f"http://127.0.0.1:{gone.server_port}"
    with pytest.raises(UnusableAnswerError, match="does not answer"):
        ask(address, "up")


@pytest.mark.parametrize(
    "head", [OK, b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200"]
)
def test_one_that_drips(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_query, "TIMEOUT", 0.1)
    with dripping(head) as slow, pytest.raises(UnusableAnswerError, match="does not answer: timed out"):
        ask(slow.url, "up")


@pytest.mark.parametrize(
    ("head", "piece"),
    [(CHUNKED + b"-1\r\n", b"x" * 65536), (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), (OK, b"x" * 9999)],
)
def test_one_that_never_ends(head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_query, "TIMEOUT", 60)
    with flooding(head, piece) as server:
        with pytest.raises(UnusableAnswerError, match="does not answer"):
            ask(server.url, "up")
        until(lambda: not server.open)
        assert server.sent < 16 << 20  # what the kernel holds included


def test_a_question_is_answered_later(server: str) -> None:
    says("scalar", [1, "3"])
    good, bad = Question(server, "up"), Question("http://[abc", "up")
    until(lambda: good.answered and bad.answered)
    assert (good.value, good.problem) == (3.0, "")
    assert (bad.value, bad.problem) == (None, "http://[abc does not answer: Invalid IPv6 URL")


def test_a_question_that_meets_a_bug_has_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_query, "ask", lambda *_: [][0])
    question = Question("http://a", "up")
    until(lambda: question.answered)
    assert (question.value, question.problem) == (None, "IndexError('list index out of range')")
