"""What a real istiod in ambient mode tells a waypoint: our filters and routes, where it has those of the Service.

istio-proxy would run it. A plain Envoy can't: it lacks Istio's own filters, and nobody speaks HBONE to it here.
"""

from __future__ import annotations

import json
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpConnectionManager
from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryRequest, DiscoveryResponse
from envoy_data_plane.google.protobuf import Struct, Value

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.mesh_cluster import PROCESSOR, workload
from tests.kubernetes.mesh_envoys import add_addresses
from tests.kubernetes.test_policies_carried_out import policy, waits_for
from tests.manifests.crds import FOLDER
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
AMBIENT = "ambient"
ISTIOD_ADDRESS, WAYPOINT, SERVER = "10.77.0.3", "10.77.6.1", "10.77.6.2"
WAYPOINT_SERVICE = "10.96.6.1"
OF_GATEWAY = {"gateway.networking.k8s.io/gateway-name": "wp"}
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
LISTENERS = "type.googleapis.com/envoy.config.listener.v3.Listener"
PATIENCE = 120
GATEWAY_CLASSES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "gatewayclasses.gateway.networking.k8s.io",
        "annotations": {
            "api-approved.kubernetes.io": "unapproved, for a test",
            "gateway.networking.k8s.io/bundle-version": "v1.6.0",
        },
    },
    "spec": {
        "group": "gateway.networking.k8s.io",
        "scope": "Cluster",
        "names": {
            "kind": "GatewayClass",
            "listKind": "GatewayClassList",
            "plural": "gatewayclasses",
            "singular": "gatewayclass",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""A kind that ../shared/crds lacks, with no more of its schema than istiod asks for."""


def gateway_api(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    head = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind}
    return {**head, "metadata": {"name": name, **metadata}, "spec": spec}


@pytest.fixture
def ambient(mesh_cluster: ControlPlane) -> Iterator[ControlPlane]:
    """With an istiod of its own in ambient mode, and a Service whose waypoint is ``wp``."""
    add_addresses(ISTIOD_ADDRESS)
    mesh_cluster.kubectl("apply", "--server-side", "-f", str(next(FOLDER.glob("gateway-api-1*.yaml"))))
    mesh_cluster.apply(GATEWAY_CLASSES)
    mesh_cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    group = ("api-resources", "--api-group=gateway.networking.k8s.io", "--cached=false", "-o", "name")
    until(lambda: "gatewayclasses" in mesh_cluster.kubectl(*group), PATIENCE, pause=0.2)
    mesh_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AMBIENT}})
    workload(mesh_cluster, AMBIENT, "wp", WAYPOINT_SERVICE, WAYPOINT, port=15008, labels=OF_GATEWAY)
    labels = {"istio.io/use-waypoint": "wp"}
    workload(mesh_cluster, AMBIENT, "talk", "10.96.6.2", SERVER, service_labels=labels)
    listeners = [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]
    spec = {"gatewayClassName": "istio-waypoint", "listeners": listeners}
    mesh_cluster.apply(
        gateway_api("GatewayClass", "istio-waypoint", {"controllerName": "istio.io/mesh-controller"}),
        gateway_api("Gateway", "wp", spec, namespace=AMBIENT),
    )
    status = {"status": {"addresses": [{"type": "IPAddress", "value": WAYPOINT_SERVICE}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    mesh_cluster.kubectl("patch", "gateways.gateway.networking.k8s.io", "wp", "-n", AMBIENT, *patch)
    istiod = mesh_cluster.istiod_at(ISTIOD_ADDRESS, PILOT_ENABLE_AMBIENT="true", POD_NAME="istiod-ambient")
    yield mesh_cluster
    istiod.end(signal.SIGKILL)


def listened() -> list[HttpConnectionManager]:
    """What the waypoint does with requests for the Service, as istiod tells it."""
    labels = Struct(fields={name: Value(string_value=value) for name, value in OF_GATEWAY.items()})
    metadata = Struct(fields={"NAMESPACE": Value(string_value=AMBIENT), "LABELS": Value(struct_value=labels)})
    metadata.fields["CLUSTER_ID"] = Value(string_value="Kubernetes")
    node = Node(id=f"waypoint~{WAYPOINT}~wp-0.{AMBIENT}~{AMBIENT}.svc.cluster.local", metadata=metadata)
    with grpc.insecure_channel(f"{ISTIOD_ADDRESS}:15010") as channel:
        stream = channel.stream_stream(METHOD)
        answers = stream(iter([bytes(DiscoveryRequest(node=node, type_url=LISTENERS))]), timeout=30)
        resources = DiscoveryResponse.parse(next(answers)).resources
        answers.cancel()
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # istiod's own fields
        for resource in resources:
            for chain in Listener.parse(resource.value).filter_chains:
                if f"talk.{AMBIENT}.svc.cluster.local" in chain.name and "http" in chain.name:
                    found += [
                        HttpConnectionManager.parse(f.typed_config.value) for f in chain.filters if f.typed_config
                    ]
    return [one for one in found if one.http_filters]


def filters() -> list[str]:
    return [each.name for manager in listened() for each in manager.http_filters]


def test_a_waypoint_is_told_our_filters_and_routes(ambient: ControlPlane) -> None:
    until(filters, PATIENCE, pause=0.5)
    before = filters()
    spec: dict[str, Any] = {"models": ["talk-*"], "host": f"talk.{AMBIENT}.svc.cluster.local", "port": 8080}
    ambient.apply(policy(AMBIENT, "talk", **spec, versions=[{"name": "v1", "weight": 1}]))
    flags = ("--for", "waypoint", "--waypoint", "wp", "--processor", PROCESSOR)
    with ControllerProcess(ambient, AMBIENT, *flags):
        waits_for(ambient, AMBIENT, "talk")
        rendered = [one for key, one in live(ambient).items() if key.kind == "EnvoyFilter" and "waypoint" in key.name]
        patches = [patch for one in rendered for patch in one["spec"]["configPatches"]]
        ours = [patch["patch"]["value"]["name"] for patch in patches if patch["applyTo"] == "HTTP_FILTER"]
        assert ours
        until(lambda: set(ours) <= set(filters()), PATIENCE, pause=0.5)
        found = filters()
        assert [name for name in found if name not in ours] == before, "nothing else is changed"
        assert max(map(found.index, ours)) < found.index("envoy.filters.http.router")
        until(lambda: "x-model-version" in repr(listened()), PATIENCE, pause=0.5)
        ambient.kubectl("delete", "mip", "--all", "-n", AMBIENT)
        until(lambda: not live(ambient), PATIENCE)
        until(lambda: filters() == before, PATIENCE, pause=0.5)
