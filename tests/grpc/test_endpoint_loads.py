"""``extproc serve`` picks by what servers' pages tell: one process, workers that share a board, and trouble.

``EXTPROC_TEST_COLLECTOR=1``: those too that take longer (`make test-collector`).
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.codec import PROCESS
from tests.grpc.messages import BODY, head
from tests.grpc.running import insecure
from tests.grpc.served import Served, ServedWorkers
from tests.hostile_server import dripping, flooding
from tests.page_server import PageServer, answer, page_of
from tests.waiting import until

LONG = pytest.mark.skipif(not os.environ.get("EXTPROC_TEST_COLLECTOR"), reason="longer: make test-collector")
ENDPOINT = "x-gateway-destination-endpoint"
POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: llama}
spec:
  host: llama
  models: [llama]
  versions: [{name: v1, endpoints: [ENDPOINTS]}]
  picking: {by: least-loaded, metrics: {type: vllm, interval: 50ms}}
"""


def write(path: Path, endpoints: Sequence[str]) -> Path:
    fresh = path.with_suffix(".new")
    fresh.write_text(POLICY.replace("ENDPOINTS", ", ".join(f'"{each}"' for each in endpoints)))
    return fresh.replace(path)


def picked(address: str) -> str:
    """The endpoint for a request; empty where it is refused."""
    with insecure(address) as channel:
        replies = list(channel.stream_stream(PROCESS)(iter([head(), BODY]), timeout=10))
    for reply in map(pb.ProcessingResponse.FromString, replies):
        for common in (reply.request_headers.response, reply.request_body.response):
            for option in common.header_mutation.set_headers:
                if option.header.key == ENDPOINT:
                    return option.header.raw_value.decode().partition(",")[0]
    return ""


def rows(served: Served) -> dict[str, dict[str, Any]]:
    return {row["endpoint"]: row for row in json.loads(served.get("/live")[1])["endpoints"]}


def collectors(served: Served) -> list[int]:
    """Processes of the collector below the processor."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words, stat = (each / "cmdline").read_bytes(), (each / "stat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        parent = int(stat.rpartition(")")[2].split()[1])
        if b"extproc.serve.load_collector" in words and parent == served.process.pid:
            found.append(int(each.name))
    return found


@pytest.fixture
def servers() -> Iterator[list[PageServer]]:
    with ExitStack() as stack:
        found = [stack.enter_context(PageServer(page_of)) for _ in range(3)]
        for number, server in enumerate(found):
            set_load(server, 3 * number)
        yield found


def set_load(server: PageServer, waiting: float) -> None:
    server.answers = lambda _: page_of(waiting, waiting)


def test_one_process_picks_by_pages(servers: list[PageServer], tmp_path: Path) -> None:
    policy = write(tmp_path / "policy.yaml", [server.address for server in servers])
    with Served(policy, "--drain", "0").ready() as served:
        until(lambda: all(row["waiting"] is not None for row in rows(served).values()))
        assert picked(served.address) == servers[0].address
        set_load(servers[0], 50)
        set_load(servers[2], 0)
        until(lambda: picked(served.address) == servers[2].address)
        until(lambda: rows(served)[servers[0].address]["waiting"] == 50)
        found = rows(served)
        assert sum(row["picks"] for row in found.values()) >= 2
        label = f'{{endpoint="{servers[0].address}",gpu_pool="none",policy="llama",version="v1"}}'
        assert served.metric(f"inference_endpoint_waiting{label}") == 50
        assert served.metric("extproc_collector_pages") == 3
        (collector,) = collectors(served)
        served.signal(signal.SIGTERM)
        assert served.exit_status() == 0
        until(lambda: not Path(f"/proc/{collector}").exists())


def test_gpus_are_told_by_the_exporter_of_the_node(servers: list[PageServer], tmp_path: Path) -> None:
    """Two pods with two GPUs and one, and an endpoint that is no pod: it has all GPUs of its own host."""
    busy = 'DCGM_FI_DEV_GPU_UTIL{gpu="%d",UUID="GPU-%d",Hostname="n",container="c",namespace="ai",pod="%s"} %d\n'
    page = "".join(busy % (gpu, gpu, pod, share) for gpu, (pod, share) in enumerate((("a", 90), ("a", 50), ("b", 10))))
    addresses = [server.address for server in servers]
    with PageServer(lambda _: answer(page.encode())) as exporter:
        pods = {addresses[number]: {"pod": f"ai/{pod}", "hostIP": "127.0.0.1"} for number, pod in enumerate("ab")}
        pages = {"type": "vllm", "gpuPort": int(exporter.address.rpartition(":")[2]), "pods": pods}
        policy = write(tmp_path / "policy.yaml", addresses)
        policy.write_text(policy.read_text().replace("{type: vllm, interval: 50ms}", json.dumps(pages)))
        asked = "observability: {customMetrics: [{name: busy, type: GAUGE, source: gpuUtilization, labels: [policy]}]}"
        policy.write_text(f"{policy.read_text()}  {asked}\n")
        with Served(policy, "--drain", "0").ready() as served:
            until(lambda: all(row["gpu"] is not None for row in rows(served).values()))
            assert [rows(served)[address]["gpu"] for address in addresses] == [0.7, 0.1, 0.5]
            until(lambda: all(row["waiting"] is not None for row in rows(served).values()))
            label = f'{{endpoint="{addresses[0]}",gpu_pool="none",policy="llama",version="v1"}}'
            assert served.metric(f"inference_endpoint_gpu_utilization{label}") == 0.7
            assert served.metric('busy{policy="llama"}') == pytest.approx(1.3 / 3)
            assert len(exporter.asked) == 1, "one connection for all endpoints"


@pytest.fixture
def team(servers: list[PageServer], tmp_path: Path) -> Iterator[ServedWorkers]:
    policy = write(tmp_path / "policy.yaml", [server.address for server in servers])
    with ServedWorkers(policy, 2, "--drain", "0.5", listen=f"unix://{tmp_path}/p.sock") as found:
        found.ready()
        until(lambda: rows(found) and all(row["waiting"] is not None for row in rows(found).values()))
        yield found


@LONG
def test_workers_have_one_collector_and_see_each_other_s_picks(
    team: ServedWorkers, servers: list[PageServer], tmp_path: Path
) -> None:
    assert len(collectors(team)) == 1
    for server in servers:  # none is idle, or what is in flight would be taken for lost
        server.answers = lambda _: page_of(0, 1)
    until(lambda: {(row["waiting"], row["running"]) for row in rows(team).values()} == {(0, 1)})
    for turn in range(30):  # nobody ends: each worker must know what the other has sent
        picked(f"unix://{tmp_path}/p.sock-{turn % 2 + 1}")
    in_flight = [row["in_flight"] for row in rows(team).values()]
    assert sum(in_flight) == 30
    assert max(in_flight) - min(in_flight) <= 2
    # Others are opened to see whether the server is there.
    assert [sum(asked > 0 for asked in server.asked) for server in servers] == [1, 1, 1]
    killed = team.pids()[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in team.pids() and team.all_ready())
    assert sum(row["in_flight"] for row in rows(team).values()) == 30  # its row goes on
    picked(f"unix://{tmp_path}/p.sock-1")
    assert sum(row["in_flight"] for row in rows(team).values()) == 31


@LONG
def test_a_collector_that_is_killed_makes_loads_unknown_and_another_one_known(
    team: ServedWorkers, servers: list[PageServer], tmp_path: Path
) -> None:
    address = f"unix://{tmp_path}/p.sock-1"
    assert picked(address) == servers[0].address
    (first,) = collectors(team)
    os.kill(first, signal.SIGSTOP)  # it is there, and says nothing
    until(lambda: all(row["waiting"] is None for row in rows(team).values()))
    assert len({picked(address) for _ in range(20)}) == 3  # by what was sent, and nothing is refused
    assert team.metric("extproc_collector_stale_pages") == 3
    os.kill(first, signal.SIGKILL)
    until(lambda: collectors(team) not in ([], [first]))
    until(lambda: all(row["waiting"] is not None for row in rows(team).values()))
    assert team.metric("extproc_collector_restarts_total") == 1
    assert team.get("/readyz") == (200, "ready\n")


def is_reloaded(team: ServedWorkers, before: int) -> bool:
    return bool(team.config()["generation"] > before)


@LONG
def test_endpoints_come_and_go_under_load(team: ServedWorkers, servers: list[PageServer], tmp_path: Path) -> None:
    """Reloads as fast as they are taken, among bad pages: each request gets an endpoint that is there."""
    policy, stop = tmp_path / "policy.yaml", Event()
    found: Counter[str] = Counter()

    def ask() -> None:
        while not stop.is_set():
            for number in (1, 2):
                found[picked(f"unix://{tmp_path}/p.sock-{number}")] += 1

    with dripping() as slow, flooding(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536) as huge:
        bad = [slow.address, huge.address, *(f"127.0.9.{n}:9" for n in range(40))]
        others = [*(server.address for server in servers[1:]), *bad]
        asking = Thread(target=ask, daemon=True)
        asking.start()
        draw = random.Random(7)
        for _ in range(30):
            generation = team.config()["generation"]
            write(policy, [servers[0].address, *draw.sample(others, draw.randint(1, len(others)))])
            team.signal(signal.SIGHUP)
            until(partial(is_reloaded, team, generation))
        write(policy, [server.address for server in servers])
        team.signal(signal.SIGHUP)
        until(lambda: rows(team).keys() == {server.address for server in servers})
        until(lambda: all(row["waiting"] is not None for row in rows(team).values()))
        stop.set()
        asking.join(10)
        until(lambda: team.metric("extproc_collector_pages") == 3)
        until(lambda: not slow.open + huge.open)
    assert "" not in found
    assert found.keys() <= {servers[0].address, *others}
    assert sum(found.values()) > 30
    assert len(collectors(team)) == 1
    assert team.metric('extproc_errors_total{reason="internal"}') == 0
    assert "Traceback" not in team.log
