"""The embedded Envoy without one: what its admin port says, and how it drains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.gateway import envoy_process
from extproc.gateway.envoy_process import Envoy


class Child:
    """Stands for the process of an Envoy."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.alive, self.terminated = True, list[float]()

    def exit_report(self) -> str:
        return "Envoy ended with exit status 1"

    def terminate(self, timeout: float) -> None:
        self.terminated.append(timeout)


class AdminPort:
    """Stands for Envoy's admin port: answers as a test says, and notes what is asked."""

    def __init__(self, directory: Path) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, str]] = []
        admin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                admin.asked.append((self.command, self.path))
                status, text = admin.answers.get(self.path, (404, ""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.file = directory / "admin.txt"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def write_address(self) -> None:
        self.file.write_text(f"{self.address}\n")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[AdminPort]:
    port = AdminPort(tmp_path)
    yield port
    port.server.shutdown()
    port.server.server_close()


@pytest.fixture
def envoy(port: AdminPort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Envoy:
    monkeypatch.setattr(envoy_process, "ChildProcess", Child)
    monkeypatch.setattr(envoy_process, "find_envoy", lambda: "envoy")
    monkeypatch.setattr(envoy_process, "_POLL_INTERVAL", 0.001)
    (tmp_path / "admin.txt").write_text("the address of one before")
    envoy = Envoy({"node": {"id": "x"}}, tmp_path)
    assert json.loads((tmp_path / "bootstrap.json").read_text()) == {"node": {"id": "x"}}
    assert not port.file.exists(), "the address of one before would be taken for its own"
    return envoy


LISTENER = {"local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 8081}}}
LISTENERS_PATH = "/listeners?format=json"


def test_it_is_ready_once_it_has_a_listener(envoy: Envoy, port: AdminPort) -> None:
    def wait() -> None:
        envoy.wait_ready(0.05)

    with pytest.raises(SetupError, match=r"Envoy was not ready within 0\.05 s\. Envoy ended with exit status 1"):
        wait()
    port.write_address()
    port.answers = {"/ready": (503, ""), LISTENERS_PATH: (200, json.dumps({"listener_statuses": [LISTENER]}))}
    with pytest.raises(SetupError):
        wait()
    port.answers |= {"/ready": (200, "LIVE"), LISTENERS_PATH: (200, "{}")}
    with pytest.raises(SetupError):
        wait()
    port.answers[LISTENERS_PATH] = (200, json.dumps({"listener_statuses": [LISTENER]}))
    envoy.wait_ready(5)
    assert envoy.listen_address == "127.0.0.1:8081"
    assert envoy.admin_address == port.address


def test_one_that_ends_is_not_waited_for(envoy: Envoy) -> None:
    envoy.child.alive = False  # type: ignore[misc]
    with pytest.raises(SetupError, match=r"^Envoy ended with exit status 1$"):
        envoy.wait_ready(60)


def test_numbers_and_texts_of_its_statistics(envoy: Envoy, port: AdminPort) -> None:
    port.write_address()
    port.answers["/stats?filter=^http[.]aimesh"] = (200, "http.aimesh.a: 3\nhttp.aimesh.b: P0(1,2)\nhttp.aimesh.c: 0\n")
    port.answers["/stats?type=TextReadouts&filter=^lds[.]version_text$"] = (200, 'lds.version_text: "12"\n')
    assert envoy.stats("http.aimesh") == {"http.aimesh.a": 3, "http.aimesh.c": 0}
    assert envoy.text_readout("lds.version_text") == "12"
    assert envoy.text_readout("cds.version_text") == ""


def test_open_requests_have_their_time_before_it_ends(envoy: Envoy, port: AdminPort) -> None:
    port.write_address()
    active = "http.aimesh.downstream_rq_active"
    stats = f"/stats?filter=^{active.replace('.', '[.]')}"
    port.answers = {stats: (200, f"{active}: 2")}
    envoy.stop(0.05)
    polled = len(port.asked)
    assert polled > 1
    assert set(port.asked) == {("GET", stats)}
    port.answers[stats] = (200, f"{active}: 0")
    envoy.stop(60)
    assert len(port.asked) == polled + 1
    port.file.write_text("127.0.0.1:1")
    envoy.stop(60)
    assert envoy.child.terminated == [2.0] * 3  # type: ignore[attr-defined]
