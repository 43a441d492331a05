"""How long until a change of a policy is in force in every replica: 200 changes, three replicas. `-s` shows it."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from statistics import quantiles

import pytest

from extproc.kubernetes import api
from extproc.kubernetes.api import POLICIES
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.processor import ClusterProcessor
from tests.waiting import until

CHANGES, REPLICAS = 200, 3
pytestmark = pytest.mark.timeout(600)


def test_every_change_is_in_force_everywhere(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.admin))
    taken = []
    with ExitStack() as stack:
        processors = [
            stack.enter_context(ClusterProcessor(control_plane.admin, "--namespace", namespace)).ready()
            for _ in range(REPLICAS)
        ]
        until(lambda: all(processor.is_ready() for processor in processors))
        for port in range(1, CHANGES + 1):
            asyncio.run(_apply(namespace, port))
            applied = time.monotonic()
            for processor in processors:
                until(lambda processor=processor, port=port: processor.ports() == {"chat": port})  # type: ignore[misc]
            taken.append(time.monotonic() - applied)
    cuts = quantiles(taken, n=100)
    median, most, longest = (f"{seconds * 1000:.0f} ms" for seconds in (cuts[49], cuts[98], max(taken)))
    print(f"\n{CHANGES} changes, {REPLICAS} replicas, after the answer: median {median}, p99 {most}, longest {longest}")


async def _apply(namespace: str, port: int) -> None:
    metadata = {"name": "chat", "namespace": namespace}
    policy = {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata, "spec": {"port": port}}
    async with api.connect() as connected:
        await connected.apply(POLICIES, policy, "test")
