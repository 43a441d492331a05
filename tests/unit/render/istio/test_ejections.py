"""How long servers stay ejected where other pools stand in for theirs."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import GpuPool, Snapshot
from extproc.render.istio.ejections import ejection_patches
from extproc.render.istio.istio_options import IstioOptions
from tests.unit.render.snapshots import A100, POOLED, Doc


def patches(*places: str) -> list[Doc]:
    pools = tuple(GpuPool(f"p{n}", A100, (f"10.0.0.{n}:80",), place) for n, place in enumerate(places))
    found = ejection_patches(Snapshot(POOLED.policies, pools), IstioOptions(), "GATEWAY")
    return [patch for host, patch in found if host == "chat.aimesh.internal"]


def test_ejections_in_a_row_are_no_longer_than_the_first() -> None:
    bound = {"base_ejection_time": "5s", "max_ejection_time": "5s"}
    west, east = patches("us-west1", "us-east1")
    assert west == {
        "applyTo": "CLUSTER",
        "match": {"context": "GATEWAY", "cluster": {"name": "outbound|8080|v1-p0|chat.aimesh.internal"}},
        "patch": {"operation": "MERGE", "value": {"outlier_detection": bound}},
    }
    assert east["match"]["cluster"]["name"] == "outbound|8080|v1-p1|chat.aimesh.internal"


@pytest.mark.parametrize("places", [("us-west1",), ("us-west1", "us-west1"), ("", "")])
def test_where_nobody_stands_in_they_last_as_envoy_has_it(places: tuple[str, ...]) -> None:
    assert patches(*places) == []
