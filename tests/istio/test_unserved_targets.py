"""Nothing claims a version or GPU pool that a request did not reach: the policy is ahead of its routes, or behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import GpuPool, Snapshot, Version
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.istio import mesh
from tests.istio.patching import Proxy

Servers = Callable[..., list[ModelServer]]
Process = Callable[..., Processor]
Run = Callable[[Proxy], Gateway]
PLACES = pytest.mark.parametrize("at", ["SIDECAR_OUTBOUND", "GATEWAY"])
CLAIMS = {"x-model-version", "x-gpu-pool", "x-gpu-architecture"}


def claimed(answer: Any, server: ModelServer) -> tuple[set[str], set[str]]:
    """What the client and the model server were told of the choice."""
    return CLAIMS & {name.lower() for name in answer.headers}, CLAIMS & server.seen[-1].headers.keys()


@pytest.mark.envoy
@PLACES
def test_a_version_that_the_routes_do_not_know(at: str, servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    rendered = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process = processor(rendered)
    envoy = run(mesh.proxy(rendered, [mesh.pod(v1, "v1")], other, process, at=at))
    answer = envoy.ask("llama", host=mesh.CHAT)
    assert (answer.text, answer.headers["x-model-version"]) == ("v1", "v1")
    process.snapshot = Snapshot((mesh.policy(versions=(Version("v1", 0), Version("v3"))),))
    answer = envoy.ask("llama", host=mesh.CHAT)
    assert (answer.text, claimed(answer, v1)) == ("v1", (set(), set()))
    assert answer.headers["x-model-name"] == "llama", "which is what the client asked for"


@pytest.mark.envoy
@pytest.mark.parametrize("models", [("llama",), ("*",)])
def test_a_pool_that_the_routes_do_not_know(
    models: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    v1, other = servers("v1", "other")
    rendered = Snapshot((mesh.policy(models=models, versions=(Version("v1"),)),))
    ahead = Snapshot(
        (mesh.policy(models=models, versions=(Version("v1"),), gpu=Requirement("a100")),), (GpuPool("west", mesh.A100),)
    )
    envoy = run(mesh.proxy(rendered, [mesh.pod(v1, "v1")], other, processor(ahead)))
    answer = envoy.ask("llama", host=mesh.CHAT)
    assert (answer.text, answer.headers["x-model-version"]) == ("v1", "v1")
    assert "x-gpu-pool" not in answer.headers
    assert "x-gpu-pool" not in v1.seen[-1].headers


@pytest.mark.envoy
def test_a_pool_that_a_policy_without_versions_no_longer_has(servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    chat = mesh.policy(versions=(), gpu=Requirement("a100"), reject_without_gpu=False)
    rendered, ahead = (
        Snapshot((chat,), (GpuPool("west", mesh.A100),)),
        Snapshot((chat,), (GpuPool("north", mesh.A100),)),
    )
    envoy = run(mesh.proxy(rendered, [mesh.pod(v1, "", "west")], other, processor(ahead)))
    answer = envoy.ask("llama", host=mesh.CHAT)
    assert (answer.text, claimed(answer, v1)) == ("v1", (set(), set()))


@pytest.mark.envoy
def test_what_a_request_itself_names_goes_on_where_nothing_is_chosen(
    servers: Servers, processor: Process, run: Run
) -> None:
    """A policy without versions and pools: the route by default is its own."""
    plain, other = servers("plain", "other")
    snapshot = Snapshot((mesh.policy(models=("*",), versions=()),))
    envoy = run(mesh.proxy(snapshot, [mesh.pod(plain)], other, processor(snapshot)))
    answer = envoy.post({}, path="/v2/models/iris/versions/3/infer", host=mesh.CHAT)
    assert (answer.text, answer.headers["x-model-version"]) == ("plain", "3")
    assert plain.seen[-1].headers["x-model-version"] == "3"
