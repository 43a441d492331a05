"""Manifests of every flavour: by their CRDs where these are there, and what each gateway imposes."""

from __future__ import annotations

import msgspec
import pytest

from extproc.errors import SetupError
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Snapshot
from extproc.render.gateway_api.gateway_manifests import documents, manifests, notes
from extproc.render.gateway_api.gateway_options import FLAVORS, Flavor
from tests.manifests import core, crds
from tests.unit.render.gateway_api.rendered_extension import SERVICES, options
from tests.unit.render.snapshots import CANARY, MIRRORED, PLAIN, POOLED

SNAPSHOTS = {"canary": CANARY, "pooled": POOLED, "mirrored": MIRRORED, "plain": PLAIN, "services": SERVICES}
_CRDS = ("gateway-api-1.6.0", "envoy-gateway-2026-08")
_OTHERS_CRDS = ("gateway.kgateway.dev/v1alpha1", "networking.gke.io/v1", "gateway.networking.k8s.io/v1beta1")
"""Whose CRDs are not beside the checkout, ReferenceGrant's neither: ``EXTPROC_TEST_CRDS`` may name a folder of them."""
_REGIONAL, _GLOBAL = "gke-l7-rilb", "gke-l7-global-external-managed"


@crds.needed
@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_they_are_what_crds_ask_for(snapshot: Snapshot, flavor: Flavor) -> None:
    if flavor == "gke" and snapshot not in (PLAIN, SERVICES):
        with pytest.raises(SetupError, match="routes to Services"):
            documents(snapshot, options(flavor))
        return
    seen = set()
    for doc in documents(snapshot, options(flavor)):
        if doc["apiVersion"] in _OTHERS_CRDS:
            continue
        seen.add(doc["kind"])
        ours = doc["apiVersion"].startswith("gateway.")
        assert (crds.problems(doc, _CRDS) if ours else core.problems(doc)) == []
    assert "HTTPRoute" in seen
    assert ("EnvoyExtensionPolicy" in seen) == (flavor == "envoy-gateway")


@pytest.mark.parametrize(
    ("flavor", "snapshot", "fields"),
    [
        ("gke", PLAIN, {"gateway_class": _REGIONAL}),
        ("gke", PLAIN, {"gateway_class": _GLOBAL}),
        ("gke", SERVICES, {"gateway_class": _REGIONAL}),
        *(("kgateway", snapshot, {}) for snapshot in SNAPSHOTS.values()),
    ],
)
def test_gke_and_kgateway_get_what_their_crds_ask_for(
    flavor: Flavor, snapshot: Snapshot, fields: dict[str, str]
) -> None:
    """By kgateway's chart kgateway-crds, and by GoogleCloudPlatform/gke-gateway-api, where they are at hand."""
    found = [doc for doc in documents(snapshot, options(flavor, **fields)) if doc["apiVersion"] in _OTHERS_CRDS]
    unknown = {(doc["apiVersion"], doc["kind"]) for doc in found} - crds.kinds()
    if unknown:
        pytest.skip(
            f"no CRD of {', '.join(sorted(kind for _, kind in unknown))} beside the checkout or in $EXTPROC_TEST_CRDS"
        )
    assert [problem for doc in found for problem in crds.problems(doc)] == []
    kinds = {doc["kind"] for doc in found}
    assert kinds >= ({"GatewayExtension", "TrafficPolicy"} if flavor == "kgateway" else {"HealthCheckPolicy"})


@pytest.mark.parametrize("flavor", FLAVORS)
def test_what_is_imposed_and_left_out_is_told(flavor: Flavor) -> None:
    told = [*notes(SERVICES, options(flavor))]
    assert any("timeout and retryBudget are not rendered" in note for note in told)
    assert any("loadBalancer is not rendered" in note for note in told)
    assert any("FULL_DUPLEX_STREAMED" in note for note in told) == (flavor != "envoy-gateway")
    assert manifests(SERVICES, options(flavor)).startswith(f"# {told[0]}\n")
    picking = Snapshot((msgspec.structs.replace(SERVICES.policies[0], picking=Picking()),))
    (added,) = set(notes(picking, options(flavor))) - set(told)
    assert added.startswith("picking has no effect")
