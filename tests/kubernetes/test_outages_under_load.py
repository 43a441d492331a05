"""A real Envoy under load while the API server fails, forgets and changes its mind: no request fails.

Envoy is told to refuse what the processor does not decide, so that none can pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.envoy.conftest import Gateway, ModelServer, gateway, servers
from tests.envoy.test_processor import POLICY, Traffic
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.processor import ClusterProcessor
from tests.policy_documents import load_texts
from tests.waiting import until

__all__ = ["gateway", "servers"]
pytestmark = [pytest.mark.envoy, pytest.mark.timeout(300)]


def weights(processor: ClusterProcessor) -> list[int]:
    (policy,) = processor.config()["policies"]
    return [version["weight"] for version in policy["versions"]]


def test_no_request_fails(
    control_plane: ControlPlane,
    namespace: str,
    servers: Callable[..., list[ModelServer]],
    gateway: Callable[..., Gateway],
    tmp_path: Path,
) -> None:
    one, two = servers("v1", "v2")
    text = POLICY.replace("ONE", one.address).replace("TWO", two.address)
    snapshot = load_texts([("policy.yaml", text)]).snapshot

    def apply(first: int, second: int, **more: Any) -> None:
        policy = yaml.safe_load(text)
        policy["metadata"]["namespace"] = namespace
        for version, weight in zip(policy["spec"]["versions"], (first, second), strict=True):
            version["weight"] = weight
        policy["spec"] |= more
        control_plane.apply(policy)

    apply(90, 10)
    kept = ("--namespace", namespace, "--snapshot-directory", str(tmp_path))
    with ClusterProcessor(control_plane.admin, *kept) as processor:
        until(processor.ready().is_ready)
        envoy = gateway(snapshot, processor.address, fail_open=False)
        until(lambda: envoy.ask("llama").status == 200)
        with Traffic(envoy) as traffic:
            traffic.more(50)
            apply(0, 100)
            until(lambda: weights(processor) == [0, 100])
            traffic.more(50)
            apply(50, 50, allowPin=True)
            until(lambda: weights(processor) == [50, 50])
            control_plane.stop_api()
            until(lambda: processor.metric("extproc_policies_in_step") == 0)
            traffic.more(100)
            control_plane.start_api()
            control_plane.compact()
            with control_plane.stopped():
                traffic.more(100)
            apply(10, 90)
            until(lambda: weights(processor) == [10, 90])
            traffic.more(50)
        assert traffic.failures == []
        assert envoy.ask("llama").headers["x-model-version"] in ("v1", "v2")
        until(lambda: processor.metric("extproc_policies_in_step") == 1)
