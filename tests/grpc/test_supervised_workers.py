"""``extproc serve --workers N``: one to people and Prometheus, several to Envoy."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from extproc._pb import health_pb2 as pb
from extproc.envoy.codec import PROCESS
from extproc.serve.grpc_health import CHECK
from tests.grpc.messages import BODY, STREAMED, head
from tests.grpc.running import insecure
from tests.grpc.served import POLICY, ServedWorkers, write
from tests.ports import taken_after_a_free_port
from tests.waiting import until

REFUSED = 'extproc_errors_total{reason="malformed_message"}'


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    write(path, "90")
    return path


@pytest.fixture
def sockets(tmp_path: Path) -> list[str]:
    """What two workers listen on."""
    return [f"unix://{tmp_path}/p.sock-1", f"unix://{tmp_path}/p.sock-2"]


@pytest.fixture
def team(policy: Path, tmp_path: Path, sockets: list[str]) -> Iterator[ServedWorkers]:
    with ExitStack() as stack:
        found = ServedWorkers(policy, 2, "--drain", "0.5", listen=f"unix://{tmp_path}/p.sock")
        yield stack.enter_context(found).ready()


def decide(address: str, *messages: bytes) -> int:
    """Replies to one stream of messages."""
    with insecure(address) as channel:
        return len(list(channel.stream_stream(PROCESS)(iter(messages), timeout=10)))


def healthy(address: str) -> bool:
    with insecure(address) as channel:
        check = channel.unary_unary(CHECK, response_deserializer=pb.HealthCheckResponse.FromString)
        try:
            return bool(check(b"", timeout=5).status == pb.HealthCheckResponse.SERVING)
        except grpc.RpcError:
            return False


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_each_serves_and_the_admin_port_shows_the_sum(team: ServedWorkers, sockets: list[str]) -> None:
    assert team.get("/readyz") == (200, "ready\n")
    for times, address in enumerate(sockets, 2):
        assert healthy(address)
        for _ in range(times):
            assert decide(address, head(protocol_config=STREAMED), BODY) == 1
    assert team.metric('extproc_message_duration_seconds_count{phase="request_headers"}') == 5
    assert team.metric("extproc_workers") == 2
    assert team.metric('extproc_policy_info{generation="1"}') == 1
    config = team.config()
    assert config["policies"][0]["name"] == "llama"
    assert [worker["listen"] for worker in config["workers"]] == [[address] for address in sockets]


def test_a_dead_worker_is_replaced_and_what_it_counted_stays(team: ServedWorkers, sockets: list[str]) -> None:
    for address in sockets:
        with pytest.raises(grpc.RpcError):
            decide(address, b"\xff\xff")
    assert team.metric(REFUSED) == 2
    first, second = team.pids()
    os.kill(first, signal.SIGKILL)
    until(lambda: team.metric("extproc_workers") == 1)
    assert team.get("/readyz")[0] == 200, "one of two will do"
    assert healthy(sockets[1])
    until(lambda: team.all_ready() and first not in team.pids(), 30)
    assert team.pids()[1] == second
    assert healthy(sockets[0])
    assert team.metric(REFUSED) == 2
    assert team.metric("extproc_worker_restarts_total") == 1
    assert "worker 1" in team.log
    assert "ended with signal SIGKILL; starting it again" in team.log


def test_without_any_worker_it_is_not_ready(team: ServedWorkers) -> None:
    for pid in team.pids():
        os.kill(pid, signal.SIGSTOP)
    until(lambda: team.get("/readyz") == (503, "not ready: 0 of 2 workers are ready\n"))
    assert team.get("/healthz")[0] == 200
    for pid in [worker["pid"] for worker in team.workers()]:
        os.kill(pid, signal.SIGCONT)
    until(lambda: team.get("/readyz")[0] == 200)


def test_reloads_reach_every_worker(team: ServedWorkers, policy: Path) -> None:
    write(policy, "50")
    until(lambda: team.metric('extproc_policy_reloads_total{result="success"}') == 2)
    team.signal(signal.SIGHUP)
    until(lambda: team.metric('extproc_policy_reloads_total{result="success"}') == 4)
    assert team.metric('extproc_policy_info{generation="3"}') == 1
    assert team.config()["policies"][0]["versions"][0]["weight"] == 50


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_draining_takes_all_and_is_exit_0(number: signal.Signals, team: ServedWorkers) -> None:
    pids = team.pids()
    team.signal(number)
    until(lambda: team.process.poll() is not None or team.get("/readyz") == (503, "not ready: draining\n"))
    assert team.exit_status() == 0
    assert all(gone(pid) for pid in pids)


def test_a_second_signal_leaves_at_once(policy: Path, tmp_path: Path) -> None:
    with ServedWorkers(policy, 2, "--drain", "60", listen=f"unix://{tmp_path}/p.sock") as team:
        pids = team.ready().pids()
        team.signal(signal.SIGTERM)
        until(lambda: team.get("/readyz")[0] == 503)
        team.signal(signal.SIGTERM)
        assert team.exit_status(5) == 128 + signal.SIGTERM
        until(lambda: all(gone(pid) for pid in pids))
    assert not list(tmp_path.glob("extproc-*"))


def test_a_killed_parent_leaves_nobody(team: ServedWorkers) -> None:
    pids = team.pids()
    team.process.kill()
    until(lambda: all(gone(pid) for pid in pids))


def test_a_worker_that_is_asked_to_leave_is_back_at_once(team: ServedWorkers, sockets: list[str]) -> None:
    before = team.pids()
    os.kill(before[1], signal.SIGTERM)
    until(lambda: before[1] not in team.pids() and team.all_ready(), 30)
    assert "ended with exit status 0; starting it again" in team.log
    assert healthy(sockets[1])


def test_ports_are_counted_up_and_a_taken_one_is_told(policy: Path) -> None:
    with taken_after_a_free_port() as taken:
        port = taken.getsockname()[1]
        with ServedWorkers(policy, 2, listen=f"127.0.0.1:{port - 1}") as team:
            assert team.exit_status(30) == 1
            until(lambda: "worker 2 could not start (exit status 1)" in team.log)
            assert f"cannot listen on 127.0.0.1:{port} (--listen): " in team.log


def test_a_bad_policy_is_told_once(policy: Path) -> None:
    policy.write_text(POLICY.replace("WEIGHT", "-3"))
    with ServedWorkers(policy, 2) as team:
        assert team.exit_status() == 2
        until(lambda: "1 error, " in team.log)
        assert team.log.count(f"{policy}:8:") == 1
