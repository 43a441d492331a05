"""What Envoy's admin port says, or something else at its address."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from extproc.doctor import envoy_admin
from extproc.doctor.envoy_admin import fetch, read_files
from extproc.errors import SetupError

ENVOY: dict[str, tuple[int, bytes]] = {
    "/server_info": (200, b'{"version": "a/1.40.0/b", "state": "LIVE"}'),
    "/config_dump": (200, b'{"configs": []}'),
    "/clusters": (200, b'{"cluster_statuses": []}'),
    "/stats": (200, b"http.a.ext_proc.streams_started: 3\n"),
}
Start = Callable[[dict[str, tuple[int, bytes]]], str]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts an admin port that answers to paths, and gives its address."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(answers: dict[str, tuple[int, bytes]]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body = answers.get(self.path.partition("?")[0], (404, b"not here"))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):  # a client that has read as much as it wants hangs up
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("form", ["{}", "http://{}", "http://{}/"])
def test_all_that_an_envoy_says(start: Start, form: str) -> None:
    found = fetch(form.format(start(ENVOY)))
    assert found.config_dump == {"configs": []}
    assert found.clusters == {"cluster_statuses": []}
    assert found.stats == {"http.a.ext_proc.streams_started": 3}
    assert (found.server or {})["state"] == "LIVE"


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:1", "http://", "ftp://a", "http://127.0.0.1:99999", "http://[::1", "//"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(SetupError) as refused:
        fetch(url)
    assert "no address of an admin port" in str(refused.value)


@pytest.mark.parametrize(
    "info", [(200, b'{"version": "1"}'), (200, b"<html>"), (404, b"not found"), (200, b"[]"), (500, b"")]
)
def test_what_is_no_envoy(start: Start, info: tuple[int, bytes]) -> None:
    with pytest.raises(SetupError, match="is no Envoy's admin port"):
        fetch(start({**ENVOY, "/server_info": info}))


def test_what_does_not_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SetupError, match=r"does not answer: Connection refused; in Istio: kubectl port-forward"):
            fetch(f"127.0.0.1:{taken.getsockname()[1]}")


def test_an_answer_with_another_status_is_quoted(start: Start) -> None:
    address = start({**ENVOY, "/clusters": (503, b"later")})
    with pytest.raises(SetupError) as refused:
        fetch(address)
    assert str(refused.value) == f'http://{address}/clusters?format=json answers 503; it says "later"'


def test_a_document_has_a_limit(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(envoy_admin, "MAX_SIZE", 1 << 20)
    with pytest.raises(SetupError, match=r"^/config_dump of http://127.*: the answer has more than 1024 KiB$"):
        fetch(start({**ENVOY, "/config_dump": (200, b" " * ((1 << 20) + 1))}))
    (tmp_path / "dump").write_bytes(b"{}" + b" " * ((1 << 20) - 2))
    assert read_files(tmp_path / "dump", None, None).config_dump == {}
    (tmp_path / "dump").write_bytes(b"{}" + b" " * (1 << 20))
    with pytest.raises(SetupError, match=r"dump has more than 1 MiB$"):
        read_files(tmp_path / "dump", None, None)


def test_answers_that_were_saved(tmp_path: Path) -> None:
    for name, content in (("dump", '{"configs": []}'), ("clusters", "{}"), ("stats", 'a: 1\nb: "text"\n')):
        (tmp_path / name).write_text(content)
    found = read_files(tmp_path / "dump", tmp_path / "clusters", tmp_path / "stats")
    assert (found.config_dump, found.clusters, found.stats, found.server) == ({"configs": []}, {}, {"a": 1}, None)
    alone = read_files(tmp_path / "dump", None, None)
    assert (alone.clusters, alone.stats) == (None, None)


def test_files_that_are_not_there_or_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"none can't be read: No such file or directory$"):
        read_files(tmp_path / "none", None, None)
    (tmp_path / "dump").write_text(json.dumps([]))
    with pytest.raises(SetupError, match="is no JSON object as Envoy's admin port gives it"):
        read_files(tmp_path / "dump", None, None)
