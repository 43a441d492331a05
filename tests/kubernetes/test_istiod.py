"""A real istiod beside the API server: its own webhook judges what is rendered for it, and it makes routes of it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import groupby
from typing import Any

import grpc
import pytest
import yaml
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryRequest, DiscoveryResponse
from envoy_data_plane.google.protobuf import Struct, Value

from extproc.cli.main import main
from extproc.policy.snapshot import GpuPool, Snapshot
from extproc.render.istio import virtual_services
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from tests.house.tree import ROOT
from tests.istio.test_divided_objects import joined, many, of_kind
from tests.kubernetes.control_plane import ISTIOD, ISTIOD_ADDRESS, ControlPlane
from tests.unit.render.snapshots import A100, POOLED
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def mesh(istiod: ControlPlane) -> Iterator[ControlPlane]:
    """With istiod's validation webhook, by which the API server asks it."""
    istiod.apply(*(named("Namespace", name) for name in ("ai", "istio-ingress")))
    istiod.apply(WEBHOOK)
    until(lambda: refused(istiod, BAD), 60, pause=0.2)
    yield istiod
    istiod.kubectl("delete", "validatingwebhookconfiguration", WEBHOOK["metadata"]["name"])


def named(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


# As Istio's chart has it, but for a URL in the place of a Service, to whose address nothing leads here. istiod writes
# its CA into the configuration of this name.
WEBHOOK: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "istio-validator-istio-system", "labels": {"app": "istiod", "istio.io/rev": "default"}},
    "webhooks": [
        {
            "name": "rev.validation.istio.io",
            "clientConfig": {"url": f"https://{ISTIOD}:15017/validate"},
            "rules": [
                {
                    "operations": ["CREATE", "UPDATE"],
                    "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io"],
                    "apiVersions": ["*"],
                    "resources": ["*"],
                }
            ],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
    ],
}
BAD = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "bad", "namespace": "ai"},
    "spec": {
        "hosts": ["a"],
        "http": [{"match": [{"uri": {"regex": "["}}], "route": [{"destination": {"host": "a"}}]}],
    },
}
"""Right by its CRD; istiod refuses the regular expression."""


def refused(mesh: ControlPlane, *documents: dict[str, Any]) -> str:
    try:
        mesh.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(documents))
    except AssertionError as error:
        return str(error) if "admission webhook" in str(error) else ""
    return ""


@pytest.mark.parametrize("place", ["gateway", "sidecar", "inbound", "waypoint"])
def test_istiod_takes_what_is_rendered(mesh: ControlPlane, place: str) -> None:
    with redirect_stdout(io.StringIO()) as rendered:
        arguments = ["-f", str(ROOT / "istio" / "policy.yaml"), "--for", place, "--host", "llm.example.com"]
        assert main(["render", "istio", *arguments]) == 0
    documents = [document for document in yaml.safe_load_all(rendered.getvalue()) if document]
    assert documents
    assert refused(mesh, BAD), "it is asked"
    mesh.apply(*documents)
    mesh.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(documents))


GATEWAY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "gateway", "namespace": "istio-ingress"},
    "spec": {
        "selector": {"istio": "ingressgateway"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
    },
}


_KIND = "type.googleapis.com/envoy.config"
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


def test_divided_routes_are_put_together_in_their_order(mesh: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``delegate``: the routes of the gateway are as if they were in one VirtualService."""
    monkeypatch.setattr(virtual_services, "MAX_ROUTES", 40)
    options = IstioOptions(proxies=("gateway",), hosts=("llm.example.com",))
    rendered = documents(many(20), options)
    assert len(of_kind(rendered, "VirtualService", "aimesh-gateway")) > 5
    mesh.apply(GATEWAY, *rendered)
    wanted = [route["name"] for route in joined(rendered)]
    until(lambda: [name for name, _ in groupby(_routes_of_the_gateway())] == wanted, 60, pause=0.2)
    mesh.kubectl("delete", "-f", "-", input=yaml.safe_dump_all([GATEWAY, *rendered]))


def _routes_of_the_gateway() -> list[str]:
    """The names of its routes, as istiod tells them to a gateway's proxy."""
    node = _node("router", "istio-ingress", {"istio": "ingressgateway"})
    (resource,) = _asked(
        DiscoveryRequest(node=node, resource_names=["http.80"], type_url=f"{_KIND}.route.v3.RouteConfiguration")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # istiod's own fields
        hosts = RouteConfiguration.parse(resource).virtual_hosts
    return [route.name for host in hosts if "llm.example.com" in host.domains for route in host.routes]


def _node(kind: str, namespace: str, labels: dict[str, str]) -> Node:
    """A proxy."""
    named = Struct(fields={name: Value(string_value=value) for name, value in labels.items()})
    metadata = Struct(fields={"NAMESPACE": Value(string_value=namespace), "LABELS": Value(struct_value=named)})
    return Node(id=f"{kind}~10.77.0.9~proxy.{namespace}~{namespace}.svc.cluster.local", metadata=metadata)


def _asked(request: DiscoveryRequest) -> list[bytes]:
    """What istiod answers."""
    with grpc.insecure_channel(f"{ISTIOD_ADDRESS}:15010") as channel:
        stream = channel.stream_stream(METHOD)
        answers = stream(iter([bytes(request)]), timeout=30)
        found = [resource.value for resource in DiscoveryResponse.parse(next(answers)).resources]
        answers.cancel()
    return found


PLACES = {"west": "us-west1/a", "east": "us-east1/b"}


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")  # of fields that istiod still sends
@pytest.mark.parametrize("server", ["{}.example.com:80", "10.9.{}.1:80"])
def test_requests_for_a_pool_go_to_no_other_first(mesh: ControlPlane, server: str) -> None:
    pools = tuple(
        GpuPool(name, A100, (server.format(name if "example" in server else number),), place)
        for number, (name, place) in enumerate(PLACES.items())
    )
    rendered = documents(Snapshot(POOLED.policies, pools), IstioOptions(proxies=("sidecar",), namespace="ai"))
    mesh.apply(*rendered)
    until(lambda: _first("v1-west"), 60, pause=0.2)
    for pool, place in PLACES.items():
        assert _first(f"v1-{pool}") == {place}
    mesh.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(rendered))


def _first(subset: str) -> set[str]:
    """Where the servers are that get a subset's requests as long as they are well."""
    node = _node("sidecar", "ai", {"app": "client"})
    clusters = map(Cluster.parse, _asked(DiscoveryRequest(node=node, type_url=f"{_KIND}.cluster.v3.Cluster")))
    found = {cluster.name: cluster for cluster in clusters}
    name = next((name for name in found if f"|{subset}|" in name and name.startswith("outbound|")), "")
    if not name:
        return set()
    assignment = found[name].load_assignment
    if not assignment or not assignment.endpoints:
        kind = f"{_KIND}.endpoint.v3.ClusterLoadAssignment"
        (told,) = _asked(DiscoveryRequest(node=node, resource_names=[name], type_url=kind))
        assignment = ClusterLoadAssignment.parse(told)
    return {f"{one.locality.region}/{one.locality.zone}" for one in assignment.endpoints if one.priority == 0}
