"""A policy with endpoints of gRPC in the mesh: its calls go there, on the version that was decided."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from extproc.policy.snapshot import HeaderMatch, Snapshot, Version
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.envoy.test_accounts import counted, faults, requests
from tests.envoy.test_grpc import SERVICE, Upstream, request, upstream
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.waiting import until

__all__ = ["upstream"]

pytestmark = pytest.mark.envoy

BETA = (HeaderMatch((("x-beta", b"true"),)),)


def test_calls_go_to_the_ports_of_grpc(
    upstream: Upstream,
    servers: Callable[..., list[ModelServer]],
    processor: Callable[..., Processor],
    run: Callable[[Proxy], Gateway],
) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    (_, first), (_, second) = upstream("v1"), upstream("v2")
    versions = (
        Version("v1", 1, (mesh.elsewhere(v1.address),), grpc_endpoints=(mesh.elsewhere(first),)),
        Version("v2", 0, (mesh.elsewhere(v2.address),), match=BETA, grpc_endpoints=(mesh.elsewhere(second),)),
    )
    snapshot = Snapshot((mesh.policy(versions=versions),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [], other, process, proxies=("sidecar",)))
    options = [("grpc.default_authority", mesh.CHAT), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(envoy.envoy.listen_address, options) as channel:
        infer = channel.unary_unary(SERVICE + "ModelInfer")
        answers = [infer(request("llama"), metadata=[("x-beta", beta)], timeout=10) for beta in ("no", "true")]
    assert [answer.partition(b":")[0] for answer in answers] == [b"v1", b"v2"]
    assert [envoy.ask("llama", host=mesh.CHAT, x_beta=beta).text for beta in ("no", "true")] == ["v1", "v2"]
    until(lambda: counted(process) == 4)
    assert {version: count for (_, version, _), count in requests(process).items()} == {"v1": 2, "v2": 2}
    assert faults(process) == {}
