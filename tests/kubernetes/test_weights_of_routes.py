"""Weights that Flagger and Argo Rollouts write into routes, taken over by the controller with its own rights.

The routes are what these tools write: Flagger's ``pkg/router`` (``gateway_api.go``, ``istio.go``), Argo Rollouts'
traffic routing for Istio, and its plugin for the Gateway API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from extproc.kubernetes.mesh_objects import Key
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.test_controller_rights import SYSTEM, installed
from tests.kubernetes.test_policies_carried_out import PATIENCE, conditions, istio, policy, status
from tests.manifests.crds import FOLDER, needed
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(300)]
VERSIONS = [{"name": "v1", "weight": 1}, {"name": "v2", "weight": 0}]
SUBSETS = {"v1": "stable", "v2": "canary"}
SERVICES = {"v1": "chat-primary", "v2": "chat-canary"}


@pytest.fixture
def routes(istio: ControlPlane) -> Iterator[ControlPlane]:
    """With the kinds of the Gateway API. They go again: other tests' istiod waits for them."""
    text = (FOLDER / "gateway-api-1.6.0.yaml").read_text()
    istio.kubectl("apply", "--server-side", "-f", "-", input=text)
    istio.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    yield istio
    istio.kubectl("delete", "--ignore-not-found", "-f", "-", input=text)


class Routed:
    """A policy that takes its weights from a route, and the controller as it is installed."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane, self.namespace = control_plane, namespace

    def apply(self, **weights_from: Any) -> None:
        chat = policy(self.namespace, models=["chat"], versions=VERSIONS, weightsFrom=weights_from)
        self.control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))

    def write(self, kind: str, spec: dict[str, Any], version: str) -> None:
        """The route, as a whole: so these tools write it."""
        metadata = {"name": "weights", "namespace": self.namespace}
        route = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
        flags = ("--server-side", "--force-conflicts", "--validate=strict")
        self.control_plane.kubectl("apply", *flags, "-f", "-", input=yaml.safe_dump(route))

    def follows(self, v1: int, v2: int) -> None:
        """Waits until status and mesh have these weights."""
        until(lambda: self._weights() == ({"v1": v1, "v2": v2}, v1 / (v1 + v2)), PATIENCE, pause=0.1)
        assert "has no weights" not in conditions(self.control_plane, self.namespace)["ResolvedRefs"][2]

    def _weights(self) -> tuple[dict[str, int], float | None]:
        told = {v["name"]: v["weight"] for v in status(self.control_plane, self.namespace).get("versions", ())}
        name = f"aimesh-chat-{self.namespace}"
        ours = live(self.control_plane).get(Key("networking.istio.io", "VirtualService", self.namespace, name))
        if ours is None:
            return told, None
        shares = {d["destination"]["subset"]: d.get("weight", 100) for d in ours["spec"]["http"][-1]["route"]}
        return told, shares.get("v1", 0) / sum(shares.values())


@pytest.fixture
def routed(routes: ControlPlane, namespace: str) -> Iterator[Routed]:
    with (
        installed(routes, "istio/controller") as kubeconfig,
        ControllerProcess(
            routes, namespace, f"--lease={SYSTEM}/aimesh-controller", kubeconfig=kubeconfig
        ) as controller,
    ):
        yield Routed(routes, namespace)
        routes.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(routes), PATIENCE)
        assert controller.end() == 0
        assert "forbidden" not in controller.said()


def flagger_route(primary: int, canary: int, *, sticky: bool) -> dict[str, Any]:
    """As ``SetRoutes`` has it; ``sticky``: with session affinity."""

    def backends(primary: int, canary: int) -> list[dict[str, Any]]:
        weights = ((SERVICES["v1"], primary), (SERVICES["v2"], canary))
        return [{"group": "", "kind": "Service", "name": n, "port": 80, "weight": w} for n, w in weights]

    matches = [{"path": {"type": "PathPrefix", "value": "/"}}]
    rules = [{"matches": matches, "backendRefs": backends(primary, canary)}]
    if sticky:
        cookie = {"name": "Cookie", "type": "RegularExpression", "value": ".*flagger-cookie.*xyz.*"}
        rules.insert(0, {"matches": [{**matches[0], "headers": [cookie]}], "backendRefs": backends(0, 100)})
    return {"parentRefs": [{"name": "gateway"}], "hostnames": ["weights.invalid"], "rules": rules}


def test_an_httproute_of_flagger_and_one_that_goes(routed: Routed) -> None:
    routed.apply(httpRoute="weights", backends=SERVICES)
    place = (routed.control_plane, routed.namespace)
    until(lambda: "has no weights" in conditions(*place).get("ResolvedRefs", ("",))[-1], PATIENCE)
    for primary, canary in ((100, 0), (90, 10), (50, 50), (0, 100)):
        spec = flagger_route(primary, canary, sticky=0 < canary < 100)
        routed.write("HTTPRoute", spec, "gateway.networking.k8s.io/v1")
        routed.follows(primary, canary)
    routed.control_plane.kubectl("delete", "httproute", "weights", "-n", routed.namespace)
    until(lambda: "has no weights" in conditions(*place)["ResolvedRefs"][2], PATIENCE)
    told = {version["name"]: version["weight"] for version in status(*place)["versions"]}
    assert told == {"v1": 0, "v2": 100}, "those in force stay"


def test_a_virtual_service_of_flagger(routed: Routed) -> None:
    routed.apply(virtualService="weights", backends=SERVICES)
    for primary, canary in ((100, 0), (80, 20)):
        weights = ((SERVICES["v1"], primary), (SERVICES["v2"], canary))
        route = [{"destination": {"host": host}, "weight": weight} for host, weight in weights]
        spec = {"hosts": ["weights"], "gateways": ["mesh"], "http": [{"route": route}]}
        routed.write("VirtualService", spec, "networking.istio.io/v1beta1")
        routed.follows(primary, canary)


def test_routes_of_argo_rollouts(routed: Routed) -> None:
    """By subsets of a VirtualService, with a route for a header; then by Services of an HTTPRoute."""
    routed.apply(virtualService="weights", backends=SUBSETS)
    for stable, canary in ((100, 0), (95, 5)):
        weights = (("stable", stable), ("canary", canary))
        route = [{"destination": {"host": "chat", "subset": s}, "weight": w} for s, w in weights]
        managed = {
            "name": "set-header",
            "match": [{"headers": {"x-canary": {"exact": "true"}}}],
            "route": [{"destination": {"host": "chat", "subset": "canary"}, "weight": 100}],
        }
        spec: dict[str, Any] = {"hosts": ["weights"], "http": [managed, {"name": "primary", "route": route}]}
        routed.write("VirtualService", spec, "networking.istio.io/v1alpha3")
        routed.follows(stable, canary)
    routed.apply(httpRoute="weights", backends=SERVICES)
    by_service = flagger_route(70, 30, sticky=False)
    header = {"name": "x-canary", "type": "Exact", "value": "true"}
    by_service["rules"].append(
        {"matches": [{"headers": [header]}], "backendRefs": [{"name": SERVICES["v2"], "port": 80}]}
    )
    routed.write("HTTPRoute", by_service, "gateway.networking.k8s.io/v1")
    routed.follows(70, 30)
    patch = json.dumps(
        [{"op": "replace", "path": f"/spec/rules/0/backendRefs/{i}/weight", "value": 50} for i in (0, 1)]
    )
    routed.control_plane.kubectl("patch", "httproute", "weights", "-n", routed.namespace, "--type=json", "-p", patch)
    routed.follows(50, 50)
