"""Requests that Istio's authentication refuses, and our filters behind it: a real Envoy with the real processor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from extproc.view import Version, View
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.waiting import until

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Process = Callable[..., Processor]
Run = Callable[[Proxy], Gateway]
Guarded = tuple[Gateway, Processor, ModelServer]
VIEW = View((mesh.policy(versions=(Version("v1"),)),))


@pytest.fixture(params=["SIDECAR_OUTBOUND", "GATEWAY"])
def guarded(request: pytest.FixtureRequest, servers: Servers, processor: Process, run: Run) -> Guarded:
    """A proxy that lets only those in who are known, its processor, and the model server behind it."""
    v1, other = servers("v1", "other")
    process, guard = processor(VIEW), mesh.authenticated()
    pods = [mesh.pod(v1, "v1")]
    return run(mesh.proxy(VIEW, pods, other, process, at=request.param, authentication=guard)), process, v1


def count(envoy: Gateway, which: str) -> int:
    name = f"http.outbound.ext_proc.{which}"
    return envoy.envoy.stats(name).get(name, 0)


def counted(process: Processor) -> list[str]:
    """The processor's counts of inference requests."""
    registry = CollectorRegistry()
    registry.register(process.metrics)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if line.startswith("inference_requests_total{")]


def test_the_processor_is_not_asked_about_who_is_not_known(guarded: Guarded) -> None:
    envoy, _, v1 = guarded
    assert envoy.ask("llama", host=mesh.CHAT).status == 401
    assert envoy.ask("llama", host=mesh.CHAT, authorization=mesh.token(b"another secret")).status == 401
    assert envoy.post({"model": "llama"}, "/admin", host=mesh.CHAT, authorization=mesh.token()).status == 403
    assert (count(envoy, "aimesh_route.streams_started"), v1.seen) == (0, [])
    assert envoy.ask("llama", host=mesh.CHAT, authorization=mesh.token()).text == "v1"
    assert count(envoy, "aimesh_route.streams_started") == 1


def test_of_who_is_refused_the_observer_sees_the_refusal_alone(guarded: Guarded) -> None:
    """Answers of Envoy's own pass all filters on their way back: their head and text are shown, no request is."""
    envoy, process, _ = guarded
    assert envoy.ask("llama", host=mesh.CHAT).status == 401
    until(lambda: counted(process))
    assert count(envoy, "aimesh_observe.stream_msgs_sent") == 2, "head and text of the answer; a request is one more"
    (line,) = counted(process)
    assert line == 'inference_requests_total{api="none",code="401",gpu_pool="none",model="other",version="none"} 1.0'
