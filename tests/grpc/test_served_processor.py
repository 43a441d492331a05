"""``extproc serve`` from start to exit: what it says, when it is ready, how it reloads and how it leaves."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc._pb import health_pb2 as pb
from extproc.envoy.codec import PROCESS
from tests.grpc.echo import Feed
from tests.grpc.messages import BODY, STREAMED, head
from tests.grpc.served import POLICY, Served, write
from tests.waiting import until

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    write(path, "90")
    return path


@pytest.fixture
def served(policy: Path) -> Iterator[Served]:
    with Served(policy, "--drain", "3", "--grace", "5") as server:
        yield server.ready()


def test_the_admin_port(served: Served) -> None:
    assert served.get("/healthz") == (200, "ok\n")
    assert served.get("/readyz") == (200, "ready\n")
    assert served.get("/readyz?verbose") == (200, "ready\n")
    assert served.get("/nothing")[0] == 404
    assert served.health() == SERVING
    config = served.config()
    assert config["generation"] == 1
    assert config["problems"] == config["renderings"] == []
    assert config["policies"][0]["versions"][0]["weight"] == 90
    status, metrics = served.get("/metrics")
    assert status == 200
    assert 'extproc_policy_info{generation="1"} 1.0' in metrics


def test_a_changed_file_and_sighup_reload(served: Served, policy: Path) -> None:
    write(policy, "50")
    until(lambda: served.config()["generation"] == 2)
    assert served.config()["policies"][0]["versions"][0]["weight"] == 50
    until(lambda: served.metric('extproc_policy_info{generation="2"}') == 1)
    served.signal(signal.SIGHUP)
    until(lambda: served.config()["generation"] == 3)
    until(lambda: served.metric('extproc_policy_reloads_total{result="success"}') == 2)


def test_a_bad_change_keeps_the_last_good_policy_and_says_so(served: Served, policy: Path) -> None:
    write(policy, "-3")
    until(lambda: served.config()["problems"])
    (problem,) = served.config()["problems"]
    assert (problem["path"], problem["line"]) == ("spec.versions[0].weight", 8)
    assert served.config()["generation"] == 1
    assert served.config()["policies"][0]["versions"][0]["weight"] == 90
    until(lambda: served.metric('extproc_policy_reloads_total{result="failure"}') == 1)
    until(lambda: served.metric('extproc_errors_total{reason="policy_reload"}') == 1)
    assert served.get("/readyz")[0] == 200
    until(lambda: f"{policy}:8" in served.log)
    write(policy, "70")
    until(lambda: served.config()["generation"] == 2)
    assert served.config()["problems"] == []


def test_a_bad_policy_at_start_is_exit_2_and_every_problem(policy: Path) -> None:
    policy.write_text(POLICY.replace("WEIGHT", "-3").replace("models", "model"))
    with Served(policy) as server:
        assert server.exit_status() == 2
        until(lambda: "2 errors, " in server.log)
        assert f"{policy}:6:" in server.log
        assert f"{policy}:8:" in server.log


def test_a_missing_policy_is_exit_2(tmp_path: Path) -> None:
    with Served(tmp_path / "none.yaml") as server:
        assert server.exit_status() == 2
        until(lambda: "none.yaml" in server.log)


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_a_taken_port_is_named(flag: str, served: Served, policy: Path) -> None:
    taken = served.address if flag == "--listen" else served.admin
    option: Any = {flag.removeprefix("--"): taken}
    with Served(policy, **option) as second:
        assert second.exit_status() == 1
        until(lambda: flag in second.log)
        assert taken in second.log
        assert "Traceback" not in second.log


def test_a_unix_socket_is_served_once_and_a_stale_one_replaced(policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with Served(policy, listen=f"unix://{path}") as first:
        assert first.ready().health() == SERVING
        with Served(policy, listen=f"unix://{path}") as second:
            assert second.exit_status() == 1
            until(lambda: "another server listens there" in second.log)
        assert first.health() == SERVING


def ask(server: Served) -> bool:
    """One request, as Envoy asks; whether it was decided."""
    with grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        return len(list(channel.stream_stream(PROCESS)(iter([head(protocol_config=STREAMED), BODY]), timeout=5))) == 1


def test_draining_fails_health_first_serves_on_and_lets_streams_finish(served: Served) -> None:
    assert ask(served)
    feed = Feed()
    with grpc.insecure_channel(served.address) as channel:
        call = channel.stream_stream(PROCESS)(iter(feed))
        feed.send(head(protocol_config=STREAMED))
        until(lambda: served.metric("extproc_streams") == 1)
        started = time.monotonic()
        served.signal(signal.SIGTERM)
        until(lambda: served.get("/readyz")[0] == 503)
        assert served.get("/readyz")[1] == "not ready: draining\n"
        assert served.get("/healthz")[0] == 200
        assert served.health() == NOT_SERVING
        assert ask(served), "new streams are served for the announced period"
        assert time.monotonic() - started < 3, "this machine is too slow for what this test wants to see"

        def refused() -> bool:
            try:
                return not ask(served)
            except grpc.RpcError:
                return True

        until(refused)
        assert served.process.poll() is None, "the open stream still has time"
        feed.send(BODY)
        assert len(list(call)) == 1
    assert served.exit_status() == 0
    assert time.monotonic() - started >= 3


def test_a_second_signal_leaves_at_once(policy: Path) -> None:
    with Served(policy, "--drain", "60") as server:
        server.ready()
        server.signal(signal.SIGTERM)
        until(lambda: server.get("/readyz")[0] == 503)
        server.signal(signal.SIGINT)
        assert server.exit_status(5) == 128 + signal.SIGINT
        until(lambda: "leaving at once" in server.log)


def test_a_kubelets_symlink_swap_is_a_reload(tmp_path: Path) -> None:
    for name, weight in (("..one", "90"), ("..two", "30")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "policy.yaml", weight)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    with Served(tmp_path) as server:
        assert server.ready().config()["policies"][0]["versions"][0]["weight"] == 90
        (tmp_path / "..tmp").symlink_to("..two")
        os.replace(tmp_path / "..tmp", tmp_path / "..data")  # noqa: PTH105 - Path.replace follows nothing either
        until(lambda: server.config()["generation"] == 2)
        assert server.config()["policies"][0]["versions"][0]["weight"] == 30
