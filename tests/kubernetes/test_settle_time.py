"""How long the real istiod and Envoys take from an object that was applied until it is in force in the proxies: what
the controller's settle time has to be longer than.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from statistics import quantiles
from threading import Event, Thread
from typing import Any

import pytest

from extproc.kubernetes import api
from extproc.kubernetes.mesh_writer import ISTIO
from tests.kubernetes.live_mesh import LiveMesh
from tests.kubernetes.mesh_cluster import HOST, INGRESS, MODELS, SERVICES
from tests.waiting import until

pytestmark = pytest.mark.timeout(3600)
CHANGES = int(os.environ.get("EXTPROC_TEST_SETTLE_CHANGES", "5"))
"""Of each kind."""
RESOURCES = {resource.kind: resource for resource in ISTIO}
CHAT = SERVICES[0].host
_ON_CHAT = {"destination": {"host": CHAT, "port": {"number": 8080}}}


def virtual_service(number: int) -> dict[str, Any]:
    route = {"headers": {"response": {"set": {"x-revision": f"revision-{number}"}}}, "route": [_ON_CHAT]}
    return {"hosts": [CHAT, HOST], "gateways": ["mesh", f"{INGRESS}/gateway"], "http": [route]}


def destination_rule(number: int) -> dict[str, Any]:
    return {"host": CHAT, "subsets": [{"name": f"s{number}", "labels": {"version": "v1"}}]}


def service_entry(number: int) -> dict[str, Any]:
    port = {"number": 8080, "name": "http", "protocol": "HTTP"}
    endpoints = [{"address": f"10.99.{number // 250}.{number % 250}"}]
    return {"hosts": [f"e{number}.example"], "ports": [port], "resolution": "STATIC", "endpoints": endpoints}


def envoy_filter(number: int) -> dict[str, Any]:
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    listener = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
    value = {"typed_config": {"@type": manager, "server_name": f"revision-{number}"}}
    patch = {"operation": "MERGE", "value": value}
    where = {"context": "ANY", "listener": listener}
    return {"configPatches": [{"applyTo": "NETWORK_FILTER", "match": where, "patch": patch}]}


KINDS: dict[str, tuple[str, Callable[[int], dict[str, Any]], str, Callable[[int], str]]] = {
    "ServiceEntry": (MODELS, service_entry, "/clusters", "||e{}.example::10.99.".format),
    "DestinationRule": (MODELS, destination_rule, "/clusters", "|s{}|".format),
    "VirtualService": (MODELS, virtual_service, "/config_dump?resource=dynamic_route_configs", '"revision-{}"'.format),
    "EnvoyFilter": ("istio-system", envoy_filter, "/config_dump?resource=dynamic_listeners", '"revision-{}"'.format),
}
"""Namespace, spec, and what Envoy says, and where, as soon as it has what is made from it."""


async def _apply(connected: api.Api, kind: str, spec: dict[str, Any], namespace: str, name: str = "settle") -> None:
    resource = RESOURCES[kind]
    metadata = {"name": name, "namespace": namespace}
    made = {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "spec": spec}
    await connected.apply(resource, made, "test", force=True)


def apply(kind: str, number: int) -> None:
    """Applies the object of a kind, as it is for this number."""

    async def work() -> None:
        async with api.connect() as connected:
            await _apply(connected, kind, KINDS[kind][1](number), KINDS[kind][0])

    asyncio.run(work())


def _took(mesh: LiveMesh, kind: str, number: int) -> list[float]:
    """Milliseconds from the API server's answer until each Envoy had the change: it has acknowledged it by then."""
    _, _, path, marker = KINDS[kind]
    apply(kind, number)
    applied = time.monotonic()
    found: dict[str, float] = {}

    def have_come() -> bool:
        for envoy in mesh.envoys:
            if envoy.kind not in found and marker(number) in envoy.ask(path)[1].decode():
                found[envoy.kind] = (time.monotonic() - applied) * 1000
        return len(found) == len(mesh.envoys)

    until(have_come, 60, pause=0.01)
    return list(found.values())


@contextmanager
def _others_apply(every: float) -> Iterator[None]:
    """Somebody else changes an object of his own every so many seconds."""
    stop = Event()

    async def work() -> None:
        async with api.connect() as connected:
            for number in count():
                if stop.is_set():
                    return
                await _apply(connected, "ServiceEntry", service_entry(1000 + number % 50), MODELS, "others")
                await asyncio.sleep(every)

    thread = Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("every", [0.0, 1.0, 0.01], ids=["nobody else", "others every second", "others without pause"])
def test_how_long_a_change_takes(mesh: LiveMesh, every: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(mesh.control_plane.admin))
    mesh.traffic.start()
    for kind in KINDS:  # it is there; from now on it changes
        apply(kind, 0)
    mesh.traffic.more(200)
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}

    def measure() -> None:
        for number in range(1, CHANGES + 1):
            for kind, found in taken.items():
                found += _took(mesh, kind, number)

    if every:
        with _others_apply(every):
            measure()
    else:
        measure()
    assert all(envoy.rejected() == {} for envoy in mesh.envoys)
    assert mesh.traffic.wrong == []
    for kind, found in taken.items():
        middle = quantiles(found, n=2)[0]
        print(f"\n{kind}: {len(found)} times: median {middle:.0f} ms, longest {max(found):.0f} ms", end="")
        mesh.control_plane.kubectl("delete", kind.lower(), "settle", "-n", KINDS[kind][0])
