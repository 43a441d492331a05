"""The inference gateway's manifests: two containers that share sockets, probes, draining, limits."""

from __future__ import annotations

from typing import Any

import pytest
from linkerd_adapter import gateway, plan
from linkerd_adapter.gateway import Options
from linkerd_adapter.names import Service

from extproc.errors import SetupError
from extproc.kubernetes.processors import ADMIN_PORT
from extproc.policy.snapshot import Policy, Snapshot, Version
from tests import fast_yaml

OWN = Service("edge", "gw")
SNAPSHOT = Snapshot((Policy("chat", "ai", (("app", "chat"),), "chat", versions=(Version("v1"),)),))


def rendered(policies: dict[str, str] | None = None, **options: Any) -> dict[str, dict[str, Any]]:
    """By kind, and ConfigMaps by name."""
    made = plan.make(SNAPSHOT, "ai")
    docs = gateway.gateway(SNAPSHOT, made, policies or {"p.yaml": "x: 1\n"}, Options(gateway=OWN, **options))
    return {doc["metadata"]["name"] if doc["kind"] == "ConfigMap" else doc["kind"]: doc for doc in docs}


def pod(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = rendered(**options)["Deployment"]["spec"]["template"]
    return found


def test_everything_has_the_gateways_name_and_namespace() -> None:
    docs = rendered()
    assert set(docs) == {"ServiceAccount", "gw-policies", "gw-envoy", "Deployment", "Service", "PodDisruptionBudget"}
    assert {doc["metadata"]["namespace"] for doc in docs.values()} == {"edge"}
    labels = {"app.kubernetes.io/name": "gw"}
    assert all(doc["metadata"]["labels"] == labels for name, doc in docs.items() if not name.startswith("gw-"))
    assert docs["Deployment"]["spec"]["selector"] == {"matchLabels": labels}
    assert docs["Deployment"]["spec"]["template"]["metadata"]["labels"] == labels
    assert docs["Service"]["spec"]["selector"] == labels
    assert {port["name"]: port["targetPort"] for port in docs["Service"]["spec"]["ports"]} == {
        "http": "http",
        ADMIN_PORT: "probes",
    }


def test_config_maps_hold_the_policies_and_the_bootstrap() -> None:
    docs = rendered({"a.yaml": "a: ä\n", "b.yaml": "b: 2\n"})
    assert docs["gw-policies"]["data"] == {"a.yaml": "a: ä\n", "b.yaml": "b: 2\n"}
    envoy = fast_yaml.load(docs["gw-envoy"]["data"]["envoy.yaml"])
    assert envoy["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] == 8080
    mounted = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert mounted["policies"]["configMap"] == {"name": "gw-policies"}
    assert mounted["envoy"]["configMap"] == {"name": "gw-envoy"}


def test_policies_beyond_what_a_config_map_holds_are_refused() -> None:
    limit = gateway.MAX_CONFIG_MAP_BYTES
    assert rendered({"a.yaml": "é" * (limit // 2)})["gw-policies"]
    with pytest.raises(SetupError, match=f"gw-policies would hold {limit + 1} bytes.*split the policies"):
        rendered({"a.yaml": "é" * (limit // 2), "b.yaml": "x"})


def test_pods_restart_for_another_bootstrap_but_not_for_other_policies() -> None:
    """The processor watches the policies; Envoy reads its file once."""
    first = pod()["metadata"]["annotations"]
    assert pod(policies={"p.yaml": "x: 2\n"})["metadata"]["annotations"] == first
    other = pod(app_protocol="kubernetes.io/h2c")["metadata"]["annotations"]
    assert other["checksum/envoy"] != first["checksum/envoy"]
    assert first["linkerd.io/inject"] == "enabled"


def test_options_reach_their_containers() -> None:
    found = rendered(image="registry/x:1", envoy_image="registry/envoy:2", replicas=5)
    assert found["Deployment"]["spec"]["replicas"] == 5
    assert "replicas" not in rendered(replicas=None)["Deployment"]["spec"], "an autoscaler says how many"
    envoy, processor = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert (envoy["name"], envoy["image"]) == ("envoy", "registry/envoy:2")
    assert (processor["name"], processor["image"]) == ("processor", "registry/x:1")
    assert processor["args"][:3] == ["serve", "-f", "/etc/aimesh"]


def test_answers_under_way_end_before_a_container_does() -> None:
    spec = pod()["spec"]
    waits = [c["lifecycle"]["preStop"]["sleep"]["seconds"] for c in spec["containers"]]
    assert waits == [gateway.DRAIN_SECONDS] * 2
    assert spec["terminationGracePeriodSeconds"] > gateway.DRAIN_SECONDS
    for container in spec["containers"]:
        assert container["livenessProbe"]["terminationGracePeriodSeconds"] < gateway.DRAIN_SECONDS
    strategy = rendered()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}


def test_only_envoy_decides_whether_the_pod_is_ready() -> None:
    """Without a processor requests pass on by weight."""
    envoy, processor = pod()["spec"]["containers"]
    assert envoy["readinessProbe"]["httpGet"] == {"path": "/envoy/ready", "port": 9090}
    assert "readinessProbe" not in processor
    assert processor["startupProbe"]["httpGet"] == {"path": "/readyz", "port": 9090}


def test_containers_have_few_rights() -> None:
    spec = pod()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == gateway.USER_ID
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_envoys_heap_leaves_room_below_the_containers_limit() -> None:
    heap = gateway.envoy_options().heap
    assert heap is not None
    limit = pod()["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert limit == f"{gateway.ENVOY_MIB}Mi"
    assert 0.7 < heap / (gateway.ENVOY_MIB << 20) < 0.9
