"""Nothing claims a version that a request did not reach: the processor's policy is ahead of Envoy's routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.envoy.bootstrap import bootstrap
from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.routes import route_configuration
from tests.envoy.conftest import Gateway, ModelServer, Processor

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]
CLAIMS = {"x-model-version", "x-gpu-pool", "x-gpu-architecture"}
A100 = Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 81920)


def chat(version: str, server: ModelServer, models: tuple[str, ...]) -> Snapshot:
    return Snapshot((Policy("chat", models=models, versions=(Version(version, 1, (server.address,)),)),))


@pytest.mark.envoy
@pytest.mark.parametrize("models", [("llama",), ("*",)])
def test_a_version_that_the_routes_do_not_know(
    models: tuple[str, ...], servers: Servers, processor: Process, gateway: Start
) -> None:
    (v1,) = servers("v1")
    process = processor(chat("v1", v1, models))
    envoy = gateway(process.snapshot, process.address)
    assert envoy.ask("llama").headers["x-model-version"] == "v1"
    process.snapshot = chat("v3", v1, models)
    answer = envoy.ask("llama")
    assert (answer.text, answer.headers["x-model-name"]) == ("v1", "llama")
    assert not CLAIMS & ({name.lower() for name in answer.headers} | v1.seen[-1].headers.keys())


def leading(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """All routes but the one that refuses what is no WebSocket."""
    routes = configuration["virtual_hosts"][0]["routes"]
    return [route for route in routes if "upgrade_configs" not in route["route"]]


def test_each_route_takes_off_what_it_does_not_reach() -> None:
    versioned = Policy("chat", models=("llama",), versions=(Version("v1"),), gpu=Requirement("a100"))
    snapshot = Snapshot((versioned, Policy("iris", models=("iris",))), (GpuPool("west", A100),))
    routes = leading(route_configuration(snapshot, EnvoyOptions()))
    assert [set(route.get("request_headers_to_remove", ())) for route in routes[::2]] == [
        set(),  # v1 on west
        CLAIMS,  # the policy's models alone
        {"x-gpu-pool"},  # all of iris
        CLAIMS,  # the processor has said nothing
    ]


def test_a_mesh_behind_is_told_everything() -> None:
    """Linkerd's proxies choose the version and pool by the headers; only a client's own pin goes no further."""
    snapshot = Snapshot((Policy("chat", versions=(Version("v1"),), gpu=Requirement("a100")),), (GpuPool("west", A100),))
    apex = Snapshot((Policy("chat", versions=(Version("", 1, ("apex:80",)),)),))
    (listener,) = bootstrap(snapshot, EnvoyOptions(), apex)["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    routes = leading(manager["route_config"])
    assert [set(route.get("request_headers_to_remove", ())) for route in routes[::2]] == [set(), CLAIMS]
