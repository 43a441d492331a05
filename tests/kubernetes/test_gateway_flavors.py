"""What is rendered for GKE and for kgateway, applied to a real API server with their CRDs, where these are at hand."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import Snapshot
from extproc.render.gateway_api.gateway_manifests import documents
from extproc.render.gateway_api.gateway_options import Flavor
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.test_installation import comes_to_rest
from tests.manifests import crds
from tests.unit.render.gateway_api.rendered_extension import SERVICES, options
from tests.unit.render.snapshots import PLAIN, POOLED

pytestmark = pytest.mark.timeout(300)
BUILT_IN = {("v1", "Service"), ("discovery.k8s.io/v1", "EndpointSlice")}


@pytest.mark.parametrize(
    ("flavor", "snapshot", "gateway_class"),
    [
        pytest.param("gke", SERVICES, "gke-l7-rilb", id="gke-regional"),
        pytest.param("gke", PLAIN, "gke-l7-global-external-managed", id="gke-global"),
        pytest.param("kgateway", SERVICES, "", id="kgateway-services"),
        pytest.param("kgateway", POOLED, "", id="kgateway-addresses"),
    ],
)
def test_their_documents_are_taken(
    control_plane: ControlPlane, flavor: Flavor, snapshot: Snapshot, gateway_class: str
) -> None:
    """Server-side and with strict validation, rules of the CRDs evaluated by the API server itself."""
    found = documents(snapshot, options(flavor, **({"gateway_class": gateway_class} if gateway_class else {})))
    kinds = {(doc["apiVersion"], doc["kind"]) for doc in found} - BUILT_IN
    unknown = sorted(kind for _, kind in kinds - crds.kinds())
    if unknown:
        pytest.skip(f"no CRD of {', '.join(unknown)} beside the checkout or in $EXTPROC_TEST_CRDS")
    definitions = crds.definitions(kinds)
    control_plane.apply(*definitions)
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    for name in {doc["metadata"]["namespace"] for doc in found}:
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    comes_to_rest(control_plane, found)
    control_plane.kubectl("delete", "crd", *(each["metadata"]["name"] for each in definitions))
