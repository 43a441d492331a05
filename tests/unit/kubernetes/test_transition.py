"""The snapshot between two others has what both need. That requests then arrive is test_change_order's to show."""

from __future__ import annotations

from typing import Any

from extproc.headers import MODEL_VERSION
from extproc.kubernetes.transition import between
from extproc.policy.custom_metric import CustomMetric, Source
from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, Snapshot, Sticky, Version
from extproc.render.envoy.filters import headers_read
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents

WEST, EAST = (GpuPool(name, describe("NVIDIA-A100-SXM4-80GB")) for name in ("west", "east"))


def snapshot(*versions: Version, pools: tuple[GpuPool, ...] = (), **fields: Any) -> Snapshot:
    return Snapshot((Policy("chat", **{"host": "chat", "models": ("m",), "versions": versions, **fields}),), pools)


def names(found: Snapshot) -> list[tuple[str, int]]:
    return [(version.name, version.weight) for version in found.policies[0].versions]


def test_where_nothing_changes_there_is_nothing_between() -> None:
    later = snapshot(Version("v1"))
    assert between(snapshot(Version("v1")), later) is later


def test_a_version_that_leaves_gets_no_share() -> None:
    found = between(snapshot(Version("v1", 9), Version("v2", 1)), snapshot(Version("v1", 5), Version("v3", 5)))
    assert names(found) == [("v1", 5), ("v3", 5), ("v2", 0)]
    assert list(found.targets) == [("chat", "v1"), ("chat", "v3"), ("chat", "v2")]


def test_targets_of_both_with_the_later_endpoints() -> None:
    earlier = snapshot(Version("v1", 1, ("a:1", "b:1")), pools=(WEST,), gpu=Requirement("a100"))
    later = snapshot(Version("v1", 1, ("b:1", "c:1")), pools=(EAST,), gpu=Requirement("a100"))
    found = between(earlier, later)
    assert [(t.pool, t.endpoints) for t in found.targets["chat", "v1"]] == [
        ("east", ("b:1", "c:1")),
        ("west", ("a:1", "b:1")),
    ]
    assert found.pools == (EAST, WEST)
    again = between(earlier, snapshot(Version("v1", 1, ("c:1",)), pools=(WEST,), gpu=Requirement("a100")))
    assert [t.endpoints for t in again.targets["chat", "v1"]] == [("c:1",)]


def test_versions_come_and_go_altogether() -> None:
    none, some = snapshot(), snapshot(Version("v1", 7))
    assert names(between(none, some)) == [("v1", 7), ("", 0)]
    assert names(between(some, none)) == [("v1", 0), ("", 1)]
    assert between(none, snapshot(port=81)).policies[0].versions == ()


def test_models_that_nobody_else_takes_stay() -> None:
    earlier = Snapshot((Policy("a", models=("x", "y")), Policy("gone", models=("z", "w"))))
    later = Snapshot((Policy("a", models=("x",)), Policy("b", models=("y", "z"))))
    found = {policy.name: policy.models for policy in between(earlier, later).policies}
    assert found == {"a": ("x",), "b": ("y", "z"), "gone": ("w",)}
    assert {policy.name for policy in between(later, Snapshot()).policies} == {"a", "b"}


def test_the_processor_is_shown_what_either_reads() -> None:
    beta = Version("v1", match=(HeaderMatch((("x-beta", b"1"),)),))
    earlier = snapshot(beta, Version("v2", model_rewrite="big"), sticky=Sticky(header="x-user"), allow_pin=True)
    later = snapshot(Version("v1"), Version("v2"), sticky=Sticky(cookie="session"), body_limit=7, path_prefixes=("/b",))
    found = between(earlier, later)
    assert {"x-beta", "x-user", "cookie"} <= set(headers_read(found))
    policy = found.policies[0]
    assert (policy.allow_pin, policy.rewrites_model, policy.path_prefixes) == (True, True, ("/b",))
    assert policy.body_limit == earlier.policies[0].body_limit
    assert policy.sticky == Sticky(cookie="session")
    same = between(earlier, snapshot(beta, sticky=Sticky(header="x-user")))
    assert headers_read(same).count("x-user") == 1


def test_metrics_read_the_headers_of_both() -> None:
    old, new = (CustomMetric(name, "GAUGE", (), Source(header=f"x-{name}"), Source()) for name in ("old", "new"))
    found = between(snapshot(custom_metrics=(old,)), snapshot(custom_metrics=(new,)))
    assert found.policies[0].metric_headers == {"x-old", "x-new"}


def test_every_version_of_either_has_its_route() -> None:
    found = documents(
        between(snapshot(Version("v1")), snapshot(Version("v2"))), IstioOptions(proxies=("sidecar",), namespace="ai")
    )
    (service,) = (doc for doc in found if doc["kind"] == "VirtualService")
    matched = [
        match["headers"].get(MODEL_VERSION) for route in service["spec"]["http"] for match in route.get("match", ())
    ]
    assert [m["exact"] for m in matched if m] == ["v2", "v2", "v1", "v1"]
