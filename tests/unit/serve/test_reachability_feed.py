"""Servers that can't be reached, by real sockets."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterator

import pytest

from extproc.policy.picking import Picking
from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.target import NOWHERE
from extproc.serve import connection_attempts
from extproc.serve.polling_thread import MAX_OPEN
from extproc.serve.reachability_feed import ReachabilityFeed, Server, watched
from extproc.telemetry.metrics import Metrics
from tests.waiting import until

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_refused_connection_twice_is_down_and_one_that_is_taken_is_up() -> None:
    server = Server()
    seen = []
    for error in (REFUSED, REFUSED, None):
        server.note(error)
        seen.append(server.down)
    assert seen == [False, True, False]


@pytest.mark.parametrize(
    "error", [TimeoutError(), socket.gaierror(socket.EAI_NONAME, ""), OSError(errno.EHOSTUNREACH, "")]
)
def test_what_was_never_reached_from_here_may_be_reached_by_the_proxy(error: OSError) -> None:
    server = Server()
    seen = []
    for outcome in (error, error, error, None, error, error):
        server.note(outcome)
        seen.append(server.down)
    assert seen == [False] * 5 + [True]


def test_what_this_machine_is_short_of_says_nothing_of_a_server() -> None:
    server = Server()
    short = OSError(errno.EMFILE, "Too many open files")
    outcomes = [None, short, short, short, REFUSED, short, REFUSED, short, None]
    assert [server.note(outcome) for outcome in outcomes] == [False] * 6 + [True, False, True]
    assert not server.down


def test_only_policies_with_a_choice_are_watched() -> None:
    one = Policy("one", models=("a",), versions=(Version("v1", 1, ("h:1",)), Version("m", 0, ("h:2",), mirror=5)))
    two = Policy("two", versions=(Version("v1", 1, ("h:3",)), Version("v2", 1, ("h:4",))))
    assert [target.cluster for target in watched(Snapshot((one, two)))] == ["two/v1", "two/v2"]
    picks = Policy("three", models=("b",), picking=Picking()), Policy("four", versions=one.versions, picking=Picking())
    assert [target.cluster for target in watched(Snapshot(picks))] == ["three", "four/v1"]


def test_many_servers_are_looked_at_less_often() -> None:
    few, many = (tuple(f"10.0.{n >> 8}.{n & 255}:80" for n in range(count)) for count in (200, 1000))
    for endpoints, interval in ((few, 0.5), (many, 2.5), (few, 0.5)):
        policy = Policy("p", versions=(Version("v1", 1, endpoints),), picking=Picking())
        snapshot = Snapshot((policy,))
        feed = ReachabilityFeed(lambda view=snapshot: view, PoolLoads(), Metrics().count_error)  # type: ignore[misc]
        assert len(list(feed._items())) == len(endpoints)
        assert feed._interval == interval


def test_servers_of_which_one_is_picked_are_told_one_by_one(listening: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        gone = address(other)
    policy = Policy("p", versions=(Version("v1", 1, (gone, address(listening))),), picking=Picking())
    snapshot, loads = Snapshot((policy,)), PoolLoads()
    feed = ReachabilityFeed(lambda: snapshot, loads, Metrics().count_error, interval=0.01)
    feed.start()
    try:
        until(lambda: loads.unreachable == {gone})
        told = loads.unreachable
        host, _, port = gone.rpartition(":")
        with socket.create_server((host, int(port))):
            until(lambda: not loads.unreachable)
        until(lambda: loads.unreachable == told)
        assert not loads.down
    finally:
        feed.stop()


def test_it_tells_what_is_down_and_what_is_back(listening: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as other:
        gone = address(other)
    versions = Version("v1", 1, (gone,)), Version("v2", 1, (address(listening), gone))
    snapshot, loads = Snapshot((Policy("p", versions=versions),)), PoolLoads()
    feed = ReachabilityFeed(lambda: snapshot, loads, Metrics().count_error, interval=0.01)
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
        "p/v1 is down: none of its servers can be reached; `onVersionDown` says what its users get",
        "p/v1 can be reached again",
    ]


def test_a_version_without_servers_is_down_by_the_policies_alone(
    listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    versions = Version("v1", 1, (address(listening),)), Version("v2", 1, (NOWHERE,))
    snapshot, loads = Snapshot((Policy("p", versions=versions),)), PoolLoads()
    feed = ReachabilityFeed(lambda: snapshot, loads, Metrics().count_error, interval=0.01)
    feed.start()
    try:
        until(lambda: feed.up == {("p", "v1", ""): 1, ("p", "v2", ""): 0})
        assert not loads.unreachable
        assert not loads.down
        assert snapshot.vacant == {"p/v2"}
    finally:
        feed.stop()
    assert "p/v2 is down" in caplog.text


def test_ports_for_grpc_are_down_for_themselves(listening: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        gone = address(other)
    here = address(listening)
    versions = Version("v1", 1, (here,), grpc_endpoints=(gone,)), Version("v2", 1, (gone,), grpc_endpoints=(here,))
    snapshot, loads = Snapshot((Policy("p", versions=versions),)), PoolLoads()
    feed = ReachabilityFeed(lambda: snapshot, loads, Metrics().count_error, interval=0.01)
    feed.start()
    try:
        until(lambda: loads.down == {"p/v1#grpc", "p/v2"})
        until(lambda: feed.up == {("p", "v1", ""): 0, ("p", "v2", ""): 0})
    finally:
        feed.stop()


def test_servers_that_swallow_connections_hold_up_nobody(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are seen to be down while they still hang."""
    monkeypatch.setattr(connection_attempts, "TIMEOUT", 60)
    with socket.create_server(("0.0.0.0", 0), backlog=1) as silent, socket.create_server(("127.0.0.1", 0)) as other:
        port, gone = silent.getsockname()[1], address(other)
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        other.close()
        silent_ones = tuple(f"127.0.1.{n}:{port}" for n in range(1, MAX_OPEN))
        versions = Version("v1", 1, (gone,)), Version("v2", 1, (address(listening),)), Version("v3", 1, silent_ones)
        snapshot, loads = Snapshot((Policy("p", versions=versions),)), PoolLoads()
        feed = ReachabilityFeed(lambda: snapshot, loads, Metrics().count_error, interval=0.01)
        feed.start()
        try:
            until(lambda: len(feed._open) == MAX_OPEN - 1)
            first = {item: each.waits_for.until for item, each in feed._open.items()}
            until(lambda: loads.down == {"p/v1"})
            assert {item: feed._open[item].waits_for.until for item in first} == first, "these still hang"
        finally:
            feed.stop()
            for client in clients:
                client.close()
