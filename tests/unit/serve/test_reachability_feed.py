"""Servers that can't be reached, by real sockets."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.upstream import PLAIN, Tls, Upstream
from extproc.serve import reachability_feed
from extproc.serve.reachability_feed import ReachabilityFeed, Server, watched
from tests.envoy.tls_servers import Authority
from tests.waiting import until


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_refused_connection_twice_is_down_and_one_that_is_taken_is_up() -> None:
    server = Server()
    seen = []
    for error in (ConnectionRefusedError(), ConnectionRefusedError(), None):
        server.note(error)
        seen.append(server.down)
    assert seen == [False, True, False]


@pytest.mark.parametrize("error", [TimeoutError(), socket.gaierror(), OSError()])
def test_what_was_never_reached_from_here_may_be_reached_by_the_proxy(error: OSError) -> None:
    server = Server()
    seen = []
    for outcome in (error, error, error, None, error, error):
        server.note(outcome)
        seen.append(server.down)
    assert seen == [False] * 5 + [True]


def test_only_policies_with_a_choice_are_watched() -> None:
    one = Policy("one", models=("a",), versions=(Version("v1", 1, ("h:1",)), Version("m", 0, ("h:2",), mirror=5)))
    two = Policy("two", versions=(Version("v1", 1, ("h:3",)), Version("v2", 1, ("h:4",))))
    assert [target.cluster for target in watched(Snapshot((one, two)))] == ["two/v1", "two/v2"]


def test_it_tells_what_is_down_and_what_is_back(listening: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as other:
        gone = address(other)
    versions = Version("v1", 1, (gone,)), Version("v2", 1, (address(listening), gone))
    snapshot, loads = Snapshot((Policy("p", versions=versions),)), PoolLoads()
    feed = ReachabilityFeed(lambda: snapshot, loads, interval=0.01)
    feed.start()
    try:
        until(lambda: loads.down == {"p/v1"})
        until(lambda: feed.up == {("p", "v1", ""): 0, ("p", "v2", ""): 1})
        host, _, port = gone.rpartition(":")
        with socket.create_server((host, int(port))):
            until(lambda: not loads.down)
            until(lambda: feed.up["p", "v1", ""] == 1)
    finally:
        feed.stop()
    said = [record.getMessage() for record in caplog.records if record.name == "extproc.serve.reachability_feed"]
    assert said[:2] == [
        "p/v1 is down: none of its servers can be reached; its users get another version",
        "p/v1 can be reached again",
    ]


def look(feed: ReachabilityFeed) -> float:
    """Seconds that one look takes."""
    with ThreadPoolExecutor(2) as executor:
        begun = time.monotonic()
        feed._look(executor)
        return time.monotonic() - begun


def feed_of(*versions: Version) -> tuple[ReachabilityFeed, PoolLoads]:
    snapshot, loads = Snapshot((Policy("p", versions=versions),)), PoolLoads()
    return ReachabilityFeed(lambda: snapshot, loads), loads


def test_ports_for_grpc_are_down_for_themselves(listening: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        gone = address(other)
    here = address(listening)
    feed, loads = feed_of(
        Version("v1", 1, (here,), grpc_endpoints=(gone,)), Version("v2", 1, (gone,), grpc_endpoints=(here,))
    )
    for _ in range(2):
        look(feed)
    assert loads.down == {"p/v1#grpc", "p/v2"}
    assert feed.up == {("p", "v1", ""): 0, ("p", "v2", ""): 0}


def test_every_address_of_a_name_is_tried(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listening.getsockname()[1]
    found = [(0, 0, 0, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]  # nobody is at the first
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    feed, loads = feed_of(Version("v1", 1, (f"models:{port}",)), Version("v2", 1, (address(listening),)))
    for _ in range(2):
        look(feed)
    assert not loads.down


def test_a_look_at_many_that_do_not_answer_takes_no_longer_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_feed, "TIMEOUT", 0.3)
    with socket.create_server(("0.0.0.0", 0), backlog=1) as silent:
        port = silent.getsockname()[1]
        clients = [socket.socket() for _ in range(4)]
        for client in clients:  # its queue is full, further connections hang
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        one, _ = feed_of(*(Version(f"v{n}", 1, (f"127.0.1.{n}:{port}",)) for n in (1, 2)))
        many, loads = feed_of(*(Version(f"v{n}", 1, (f"127.0.1.{n}:{port}",)) for n in range(1, 101)))
        short, long = look(one), look(many)
        assert short >= 0.3
        assert long < 4 * short
        assert not loads.down
        for client in clients:
            client.close()


class TlsServer(Thread):
    """Takes connections one by one, and notes how each ended."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self._listening, self._context = listening, context
        self.seen: list[str] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            try:
                with self._context.wrap_socket(connection, server_side=True) as session:
                    chosen = session.selected_alpn_protocol()
                    self.seen.append(f"{chosen} {session.recv(1)!r}")  # nothing, by the client's close_notify
                    session.unwrap()
            except OSError as error:
                self.seen.append(type(error).__name__)


@pytest.mark.parametrize(
    ("tls", "expected"), [(Tls(), "h2 b''"), (Tls(server_name="models"), "h2 b''"), (None, "SSLEOFError")]
)
def test_servers_of_tls_see_a_whole_connection(
    tls: Tls | None, expected: str, tmp_path: Path, listening: socket.socket
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Authority(tmp_path).issue("somebody-else"))
    context.set_alpn_protocols(["h2"])
    server = TlsServer(listening, context)
    upstream = Upstream(tls) if tls else PLAIN
    feed, loads = feed_of(*(Version(name, 1, (address(listening),), upstream=upstream) for name in ("v1", "v2")))
    for _ in range(2):
        look(feed)
    until(lambda: len(server.seen) == 2)
    assert server.seen == [expected] * 2
    assert not loads.down


def test_a_server_that_says_nothing_of_tls_is_there(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_feed, "TIMEOUT", 0.05)
    upstream = Upstream(Tls())
    feed, loads = feed_of(*(Version(name, 1, (address(listening),), upstream=upstream) for name in ("v1", "v2")))
    for _ in range(3):
        look(feed)
    assert not loads.down
    assert feed.up == {("p", "v1", ""): 1, ("p", "v2", ""): 1}
