"""Pools of GPUs in two clusters, in a mesh: the nearer answers, the other takes over when it is gone or full.

Manifests are the controller's, endpoints and their priorities a real istiod's, and each cluster is a network namespace.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Self

import aiohttp
import pytest

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.live_mesh import PATIENCE, LiveMesh, policy
from tests.kubernetes.mesh_cluster import GATEWAY, HOST, MODELS, SERVICES
from tests.kubernetes.mesh_envoys import MeshEnvoy
from tests.kubernetes.pool_networks import PoolNetwork
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)
HERE = "us-west1/a"
PLACES = {"west": HERE, "north": "us-west1/c", "east": "us-east1/b"}
"""The networks, the nearest first."""
ROUNDS = 3
CLIENTS = 3
"""At each entrance."""
PAUSE = 0.01
"""Seconds between an answer and the same client's next request."""
ENTRANCES = {"sidecar": (f"http://{SERVICES[0].address}:8080", f"{SERVICES[0].host}:8080")}
ENTRANCES["gateway"] = f"http://{GATEWAY}", HOST
SPEC: dict[str, Any] = {
    "models": ["chat-*"],
    "host": "chat",
    "port": 8080,
    "versions": [{"name": "v1", "weight": 1}],
    "gpuRequirements": {"architecture": "a100"},
}
_SERIES = re.compile(r"^inference_requests_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Asked(NamedTuple):
    """A request. ``by``: the network that answered; ``pool``: the one that was decided, by the answer's header."""

    began: float
    ended: float
    status: int
    by: str
    pool: str
    text: str


class Load:
    """Clients that ask again and again by both entrances, in a thread of their own; ends with the context."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        """In the order in which they ended."""
        self._stopping = False
        self._thread = Thread(target=asyncio.run, args=(self._run(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(60)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            await asyncio.gather(
                *(self._client(session, *ENTRANCES[name]) for name in ENTRANCES for _ in range(CLIENTS))
            )

    async def _client(self, session: aiohttp.ClientSession, base: str, host: str) -> None:
        body = {"model": "chat-7b", "messages": [{"role": "user", "content": "hi"}]}
        url = f"{base}/v1/chat/completions"
        while not self._stopping:
            began = time.monotonic()
            try:
                async with session.post(url, json=body, headers={"host": host}) as got:
                    text = await got.text()
                    by, pool = got.headers.get("x-network", ""), got.headers.get("x-gpu-pool", "")
                    self.asked.append(Asked(began, time.monotonic(), got.status, by, pool, text[:200]))
            except (aiohttp.ClientError, TimeoutError) as error:
                self.asked.append(Asked(began, time.monotonic(), 0, "", "", repr(error)))
            await asyncio.sleep(PAUSE)

    def latest(self) -> list[Asked]:
        """Some of each client."""
        return self.asked[-6 * CLIENTS * len(ENTRANCES) :]

    def all_by(self, network: str) -> bool:
        """Whether the latest answers are all this network's."""
        return {asked.by for asked in self.latest()} == {network}


def pool(network: PoolNetwork) -> dict[str, Any]:
    """The GpuPool of a network's servers."""
    spec = {
        "product": "NVIDIA-A100-SXM4-80GB",
        "cluster": f"prod-{network.name}",
        "locality": PLACES[network.name],
        "endpoints": network.endpoints,
        "metrics": {"type": "vllm", "url": f"http://{network.endpoints[0]}/metrics"},
    }
    metadata = {"name": network.name, "namespace": MODELS}
    return {"apiVersion": "ai.istio.io/v1alpha1", "kind": "GpuPool", "metadata": metadata, "spec": spec}


@pytest.fixture
def networks() -> Iterator[dict[str, PoolNetwork]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(PoolNetwork(name, number)) for number, name in enumerate(PLACES, 1)}


@pytest.fixture
def placed(mesh_cluster: ControlPlane, tmp_path: Path) -> Iterator[LiveMesh]:
    """A mesh whose processors stand in a zone of the west."""
    with LiveMesh(mesh_cluster, tmp_path, "--locality", HERE) as made:
        yield made


def priorities(envoy: MeshEnvoy, subset: str) -> dict[str, int]:
    """By address the priority that istiod gave each endpoint of a subset."""
    dump = json.loads(envoy.ask("/config_dump?include_eds")[1])["configs"]
    (found,) = (
        one["endpoint_config"]
        for config in dump
        for one in config.get("dynamic_endpoint_configs", ())
        if one["endpoint_config"]["cluster_name"] == f"outbound|{SPEC['port']}|{subset}|chat.aimesh.internal"
    )
    return {
        endpoint["endpoint"]["address"]["socket_address"]["address"]: locality.get("priority", 0)
        for locality in found["endpoints"]
        for endpoint in locality["lb_endpoints"]
    }


def counted(mesh: LiveMesh) -> Counter[str]:
    """Answers of status 200 by these pools, as the processors' metrics say."""
    found: Counter[str] = Counter()
    for processor in mesh.processors:
        for labels, value in _SERIES.findall(processor.get("/metrics")[1]):
            named = dict(_LABEL.findall(labels))
            if named["code"] == "200" and named["gpu_pool"] in PLACES:
                found[named["gpu_pool"]] += int(float(value))
    return found


def say_waiting(network: PoolNetwork, count: int) -> None:
    request = urllib.request.Request(f"http://{network.endpoints[0]}/waiting/{count}", b"")
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


def cut_off(load: Load, network: PoolNetwork, other: PoolNetwork) -> None:
    """Kills the servers of a network; of the requests only such fail as were under way."""
    before = len(load.asked)
    network.kill()
    gone = time.monotonic()
    until(lambda: load.all_by(other.name), PATIENCE)
    failed = [asked for asked in load.asked[before:] if asked.status != 200]
    first = min(asked.ended for asked in load.asked[before:] if asked.by == other.name) - gone
    print(f"\n{network.name} cut off: {other.name} answers after {first:.2f} s; {len(failed)} failed", end="")
    assert all(asked.began < gone for asked in failed), failed


def bring_back(load: Load, network: PoolNetwork) -> None:
    """Starts its servers again, and waits until it has all requests."""
    before = len(load.asked)
    network.start()
    back = time.monotonic()
    until(lambda: load.all_by(network.name), PATIENCE)
    first = min(asked.ended for asked in load.asked[before:] if asked.by == network.name) - back
    print(f"; back: it answers after {first:.2f} s, all after {time.monotonic() - back:.2f} s", end="")
    assert {asked.status for asked in load.asked[before:]} == {200}


@contextmanager
def carried_out(mesh: LiveMesh, networks: Mapping[str, PoolNetwork]) -> Iterator[Load]:
    """With the policy and its pools in force; clients that ask once they are started."""
    with mesh.controller("--for", "sidecar"):
        mesh.apply([*map(pool, networks.values()), policy("chat", SPEC)])
        until(lambda: mesh.follows({"chat": SPEC}), PATIENCE, pause=0.2)
        yield Load()
        for envoy in mesh.envoys:
            assert envoy.rejected() == {}, envoy.said()
        mesh.apply_nothing()
        until(mesh.is_empty, PATIENCE, pause=0.2)


def test_the_next_nearest_takes_over_and_the_nearest_comes_back(
    placed: LiveMesh, networks: dict[str, PoolNetwork]
) -> None:
    west, north, east = networks.values()
    with carried_out(placed, networks) as load:
        with load:
            until(lambda: load.all_by("west"), PATIENCE)
            ranks = {address: rank for rank, network in enumerate((west, north, east)) for address in network.addresses}
            for envoy in placed.envoys:
                assert priorities(envoy, "v1-west") == ranks
            for _ in range(ROUNDS):
                cut_off(load, west, north)
                bring_back(load, west)
            cut_off(load, west, north)
            until(lambda: {asked.pool for asked in load.latest()} == {"north"}, PATIENCE)  # the processors know it, too
            cut_off(load, north, east)
            bring_back(load, west)
        by_pool = Counter(asked.pool for asked in load.asked if asked.status == 200 and asked.pool)
        until(lambda: counted(placed) == by_pool, PATIENCE, pause=0.2)
        for name, place in PLACES.items():
            told = f'inference_pool_info{{cluster="prod-{name}",gpu_pool="{name}",locality="{place}"}}'
            assert [processor.metric(told) for processor in placed.processors] == [1, 1]


def test_what_is_full_spills(placed: LiveMesh, networks: dict[str, PoolNetwork]) -> None:
    west, north, _ = networks.values()
    with carried_out(placed, networks) as load, load:
        until(lambda: load.all_by("west"), PATIENCE)
        for full, free in ((west, "north"), (north, "east")):
            say_waiting(full, 1000)
            until(lambda free=free: load.all_by(free), PATIENCE)  # type: ignore[misc]
        say_waiting(west, 0)
        until(lambda: load.all_by("west"), PATIENCE)
    assert {asked.status for asked in load.asked} == {200}
