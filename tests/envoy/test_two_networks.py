"""Two clusters of GPUs on two networks of loopback: the nearer answers, the other takes over when it is cut off."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.serve.reachability_feed import ReachabilityFeed
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor, say

pytestmark = pytest.mark.envoy

GPU = Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 81920)
CLIENTS = 4
WEST, EAST = ("127.0.1.1", "127.0.1.2"), ("127.0.2.1", "127.0.2.2")


class Network:
    """Model servers on one port of some addresses, which can be cut off and come back."""

    def __init__(self, name: str, addresses: tuple[str, ...]) -> None:
        self.name = name
        self.servers = [ModelServer(name, host=address) for address in addresses]
        self.endpoints = tuple(server.address for server in self.servers)
        for server in self.servers:
            server.then = say(name.encode(), connection="close")
            server.__enter__()

    def cut_off(self) -> None:
        for server in self.servers:
            server.__exit__()

    def back(self) -> None:
        ports = [(server.server_address[0], server.server_address[1]) for server in self.servers]
        self.servers = [ModelServer(self.name, port, host=str(host)) for host, port in ports]
        for server in self.servers:
            server.then = say(self.name.encode(), connection="close")
            server.__enter__()


class Load:
    """Clients that ask again and again, and note what they got and when."""

    def __init__(self, gateway: Gateway, clients: int) -> None:
        self.answers: list[tuple[float, int, str]] = []
        """Seconds, status, and who answered; in the order in which they came."""
        self._gateway, self._stopping = gateway, threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            found = self._gateway.ask("llama")
            self.answers.append((time.monotonic(), found.status, found.text))

    def since(self, number: int) -> Counter[tuple[int, str]]:
        return Counter((status, who) for _, status, who in self.answers[number:])

    def all_by(self, who: str, latest: int = 3 * CLIENTS) -> bool:
        """Whether the latest answers are all this network's."""
        found = self.answers[-latest:]
        return len(found) == latest and all(answer[1:] == (200, who) for answer in found)


def test_the_other_network_takes_over_and_the_nearer_comes_back(
    processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> None:
    west, east = Network("west", WEST), Network("east", EAST)
    pools = (
        GpuPool("a100-east", GPU, east.endpoints, "us-east1", cluster="east"),
        GpuPool("a100-west", GPU, west.endpoints, "us-west1", cluster="west"),
    )
    policy = Policy("chat", models=("llama",), versions=(Version("v1"),), gpu=Requirement())
    snapshot = Snapshot((policy,), pools, locality="us-west1/a")
    started = processor(snapshot)
    feed = ReachabilityFeed(lambda: snapshot, started.loads, started.metrics.count_error, interval=0.1)
    envoy = gateway(snapshot, started.address, message_timeout=20.0)
    asked: list[str] = []

    def pool() -> str:
        asked.append(envoy.ask("llama").headers["x-gpu-pool"])
        return asked[-1]

    try:
        with Load(envoy, clients=CLIENTS) as load:
            until(lambda: load.all_by("west"))
            assert set(load.since(0)) == {(200, "west")}
            cut_at = len(load.answers)
            west.cut_off()
            until(lambda: load.all_by("east"))  # by Envoy: the processor does not know yet, and decides as before
            taken_over_at = len(load.answers)
            assert pool() == "a100-east"
            feed.start()
            until(lambda: "chat/v1/a100-west" in started.loads.down)
            west.back()
            until(lambda: load.all_by("west"), seconds=30)
        until(lambda: pool() == "a100-west")
        failed = [number for number, answer in enumerate(load.answers) if answer[1] != 200]
        assert len(failed) <= CLIENTS, load.since(cut_at)  # those that were under way
        assert all(number < taken_over_at for number in failed)
        counted = started.metrics._counters["inference_requests"]
        until(lambda: sum(counted.values()) == len(load.answers) + len(asked))
        by_status = load.since(0)
        for network in ("east", "west"):
            expected = by_status[200, network] + asked.count(f"a100-{network}")
            assert counted["llama", "v1", f"a100-{network}", "openai", "200"] == expected
        assert not started.metrics._counters["extproc_errors"].get(("not_as_decided",))
    finally:
        feed.stop()
        west.cut_off()
        east.cut_off()
