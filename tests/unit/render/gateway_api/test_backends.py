"""What routes name for targets: Services, and objects for servers that are in none."""

from __future__ import annotations

import re

import pytest

from extproc.errors import SetupError
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.upstream import Tls, Upstream
from extproc.render.gateway_api.backends import Backend, backends
from extproc.render.gateway_api.gateway_options import Flavor, GatewayOptions

APP = (("app", "chat"),)


def of(version: Version | None = None, flavor: Flavor = "plain", **fields: object) -> list[Backend]:
    policy = Policy("chat", "ai", host="chat", versions=(version,) if version else (), **fields)  # type: ignore[arg-type]
    (target,) = Snapshot((policy,)).targets["chat", version.name if version else ""]
    return backends(policy, target, GatewayOptions(flavor=flavor))


def test_the_apex_service_and_pods_of_a_version() -> None:
    (apex,) = of()
    assert apex.reference() == {"group": "", "kind": "Service", "name": "chat", "namespace": "ai", "port": 8080}
    assert apex.manifests == ()
    (pods,) = of(Version("v1"), selector=APP)
    assert pods.reference(3)["name"] == "chat-v1"
    assert pods.reference(3)["weight"] == 3
    (service,) = pods.manifests
    assert service["spec"]["selector"] == {"app": "chat", "version": "v1"}


@pytest.mark.parametrize("flavor", ["plain", "envoy-gateway", "kgateway", "gke"])
@pytest.mark.parametrize("endpoint", ["127.0.0.1:9001", "[::1]:80", "localhost:80", "0.0.0.0:80"])
def test_this_machine_is_no_backend(endpoint: str, flavor: Flavor) -> None:
    with pytest.raises(
        SetupError, match=re.escape(f"chat, version v1: no gateway reaches {endpoint}; leave endpoints")
    ):
        of(Version("v1", 1, ("10.0.0.1:80", endpoint)), flavor)


@pytest.mark.parametrize("name", ["vllm.gpus.svc:80", "vllm.gpus:80", "vllm.gpus.svc.cluster.local:80"])
def test_an_endpoint_that_is_a_service(name: str) -> None:
    (found,) = of(Version("v1", 1, (name,)))
    assert (found.at.namespace, found.at.name, found.port, found.manifests) == ("gpus", "vllm", 80, ())


def test_addresses_are_slices_of_a_service_without_a_selector() -> None:
    (found,) = of(Version("v1", 1, ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:81", "[fd00::1]:80")))
    assert found.size == 4
    service, *slices = found.manifests
    assert "selector" not in service["spec"]
    assert [(one["addressType"], one["ports"][0]["port"], len(one["endpoints"])) for one in slices] == [
        ("IPv4", 80, 2),
        ("IPv4", 81, 1),
        ("IPv6", 80, 1),
    ]
    assert {one["metadata"]["labels"]["kubernetes.io/service-name"] for one in slices} == {"chat-v1"}


def test_backends_of_gateways_take_any_host() -> None:
    version = Version("v1", 1, ("10.0.0.1:80", "model.example.com:81"))
    (envoy,) = of(version, "envoy-gateway")
    assert envoy.reference() == {
        "group": "gateway.envoyproxy.io",
        "kind": "Backend",
        "name": "chat-v1",
        "namespace": "ai",
    }
    assert envoy.manifests[0]["spec"]["endpoints"] == [
        {"ip": {"address": "10.0.0.1", "port": 80}},
        {"fqdn": {"hostname": "model.example.com", "port": 81}},
    ]
    (other,) = of(version, "kgateway")
    assert other.reference()["group"] == "gateway.kgateway.dev"
    assert other.manifests[0]["spec"]["static"]["hosts"][1] == {"host": "model.example.com", "port": 81}


@pytest.mark.parametrize(
    ("version", "flavor", "why"),
    [
        (Version("v1"), "plain", "nothing tells which pods serve it"),
        (Version("v1", 1, ("model.example.com:80",)), "plain", "model.example.com is in no Service"),
        (Version("v1", 1, ("10.0.0.1:80",)), "gke", "10.0.0.1 is in no Service, and gke"),
        (Version("v1", 1, ("chat:443",), upstream=Upstream(Tls())), "plain", "https://, pathRewrite and credentials"),
    ],
)
def test_what_can_not_be_done_is_refused(version: Version, flavor: Flavor, why: str) -> None:
    with pytest.raises(SetupError, match=why):
        of(version, flavor)
