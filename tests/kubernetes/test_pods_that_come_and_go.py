"""The chaos of tests/picking_chaos.py on a real API server: pods come and go, and a real Envoy asks for endpoints.

``EXTPROC_TEST_CHAOS`` says for how many seconds (`make test-picking-chaos`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from extproc.kubernetes import api
from extproc.kubernetes.api import PODS, POLICIES, Api, Object, Resource
from extproc.kubernetes.pools_as_policies import INFERENCE_POOLS
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.mesh_envoys import add_addresses
from tests.kubernetes.test_inference_pools_served import cluster
from tests.manifests.crds import needed
from tests.picking_chaos import run

__all__ = ["cluster"]
SECONDS = float(os.environ.get("EXTPROC_TEST_CHAOS", "20"))
HOSTS = tuple(f"10.88.3.{number}" for number in range(1, 15))
pytestmark = [needed, pytest.mark.timeout(300 + 2 * SECONDS)]


class Writer:
    """Writes objects from any thread, over one connection: kubectl takes longer than there is between two changes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: Api) -> None:
        self._loop, self._api = loop, connected
        self._pods: set[str] = set()

    def put(self, one: Object) -> None:
        """Creates or changes an object; returns once the server has it."""
        asyncio.run_coroutine_threadsafe(self._put(one), self._loop).result(60)

    async def _put(self, one: Object) -> None:
        metadata = {name: value for name, value in one["metadata"].items() if name in ("name", "namespace", "labels")}
        one = {**one, "metadata": metadata}
        if one["kind"] != PODS.kind:
            await self._api.create(_resource(one), one)
            return
        if metadata["name"] not in self._pods:
            self._pods.add(metadata["name"])
            await self._api.create(PODS, {name: value for name, value in one.items() if name != "status"})
        await self._api.replace(PODS, one, "status")


def _resource(one: Object) -> Resource:
    return POLICIES if one["kind"] == POLICIES.kind else INFERENCE_POOLS


@contextmanager
def writer(kubeconfig: Path) -> Iterator[Writer]:
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig))
        connection = api.connect()
        opened = asyncio.run_coroutine_threadsafe(connection.__aenter__(), loop).result(60)
    try:
        yield Writer(loop, opened)
    finally:
        asyncio.run_coroutine_threadsafe(connection.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_pods_that_come_and_go_cost_no_request(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    add_addresses(*HOSTS)
    with writer(cluster.admin) as written:
        figures = run(cluster.admin, namespace, written.put, HOSTS, tmp_path, seconds=SECONDS)
    print(f"\n{figures}")
