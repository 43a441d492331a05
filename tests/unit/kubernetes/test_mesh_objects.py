"""Which objects are written and removed: nothing twice, nobody else's, and what requests still need stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.names import Service

from extproc.kubernetes.mesh_objects import (
    APPLIED,
    LABEL,
    Doc,
    Key,
    Layer,
    changes,
    controlled,
    key_of,
    layer_of,
    serving_both,
)
from extproc.policy.snapshot import Snapshot
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from tests.unit.render.snapshots import CANARY, POOLED

ALL = tuple(Layer)


def istio(snapshot: Snapshot = CANARY) -> dict[Key, Doc]:
    return controlled(documents(snapshot, IstioOptions()), "istio")


def test_rendered_objects_are_kept_but_for_their_provenance() -> None:
    rendered = documents(CANARY, IstioOptions())
    for doc, made in zip(rendered, istio().values(), strict=True):
        annotations = dict(made["metadata"]["annotations"])
        assert len(annotations.pop(APPLIED)) == 16
        assert made["metadata"]["labels"] == {**doc["metadata"]["labels"], LABEL: "istio"}
        del doc["metadata"]["annotations"]["ai.istio.io/rendered-from"]
        assert annotations == doc["metadata"]["annotations"]
        assert made["spec"] == doc["spec"]


def test_nothing_is_written_where_all_is_there() -> None:
    live = {key: served(doc) for key, doc in istio().items()}
    assert not changes(istio(), live, ALL, remove=True)


def served(doc: Doc) -> Doc:
    """As the API server gives an object back: with a status, other metadata, and defaults."""
    found = copy.deepcopy(doc)
    found["metadata"] |= {"uid": "1", "resourceVersion": "7", "generation": 1}
    found["metadata"]["annotations"]["other/annotation"] = "x"
    found["spec"]["somebody's"] = {"default": True}
    return found | {"status": {}}


def test_what_is_missing_changed_or_left_over_is_put_right() -> None:
    wanted = istio()
    live = {key: served(doc) for key, doc in istio(POOLED).items()} | {key: served(wanted[key]) for key in wanted}
    first, *others = wanted
    del live[first]
    drifted = next(key for key in others if key.kind == "VirtualService")
    live[drifted]["spec"]["http"] = live[drifted]["spec"]["http"][1:]
    stale = next(key for key in others if key.kind == "EnvoyFilter")
    live[stale]["metadata"]["annotations"][APPLIED] = "another"
    found = changes(wanted, live, ALL, remove=True)
    assert [key_of(doc) for doc in found.first] == [first], "what is new comes before what is changed"
    assert [key_of(doc) for doc in found.apply] == sorted([drifted, stale], key=layer_of)
    assert [key_of(doc) for doc in found.remove] == sorted(
        istio(POOLED).keys() - wanted.keys(), key=lambda key: (-layer_of(key), key)
    )
    assert not changes(wanted, live, ALL, remove=False).remove


def test_a_step_is_about_its_layers_only() -> None:
    found = changes(istio(), {}, (Layer.ROUTES,), remove=True)
    assert {doc["kind"] for doc in found.first} == {"VirtualService"}
    assert not found.apply
    assert changes({}, {key: served(doc) for key, doc in istio().items()}, (Layer.FILTERS,), remove=True).remove
    assert not changes({}, {key: served(doc) for key, doc in istio().items()}, (Layer.PROCESSORS,), remove=True)


def test_every_object_of_linkerds_has_a_layer_in_which_it_is_right() -> None:
    options = Options(gateway=Service("ai", "inference-gateway"))
    snapshot = Snapshot((CANARY.policies[0],))
    rendered = manifests.render(snapshot, {"a.yaml": ""}, options).manifests
    layers = {key.kind: layer_of(key) for key in controlled(rendered, "linkerd")}
    assert layers == {
        "Service": Layer.BENEATH,
        "EndpointSlice": Layer.BENEATH,
        "ServiceAccount": Layer.BENEATH,
        "HTTPRoute": Layer.ROUTES,
        "ConfigMap": Layer.PROCESSORS,
        "Deployment": Layer.PROCESSORS,
        "PodDisruptionBudget": Layer.PROCESSORS,
    }


def rule(*subsets: str) -> dict[Key, Doc]:
    spec = {"host": "a", "subsets": [{"name": name, "labels": {}} for name in subsets]}
    return one("DestinationRule", spec)


def one(kind: str, spec: dict[str, Any]) -> dict[Key, Doc]:
    doc = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "a", "namespace": "ai"}}
    return controlled([{**doc, "spec": spec}], "istio")


def test_subsets_stay_while_a_route_may_lead_to_them() -> None:
    (found,) = serving_both(rule("v1", "v2"), rule("v3"), rule("v2", "v0")).values()
    assert [subset["name"] for subset in found["spec"]["subsets"]] == ["v1", "v2", "v3", "v0"]
    (first,) = rule("v1").values()
    assert found["metadata"]["annotations"][APPLIED] != first["metadata"]["annotations"][APPLIED]
    (same,) = serving_both(rule("v1", "v2"), rule("v2"), {}).values()
    assert same == next(iter(rule("v1", "v2").values()))


def entry(**versions: list[str]) -> dict[Key, Doc]:
    endpoints = [
        {"address": address, "labels": {"version": version}}
        for version, all_of in versions.items()
        for address in all_of
    ]
    return one("ServiceEntry", {"hosts": ["a"], "resolution": "STATIC", "endpoints": endpoints})


def test_endpoints_stay_where_a_version_would_have_none() -> None:
    (found,) = serving_both(entry(v1=["10.0.0.1"]), {}, entry(v1=["10.0.0.9"], v2=["10.0.0.2"])).values()
    assert [endpoint["address"] for endpoint in found["spec"]["endpoints"]] == ["10.0.0.1", "10.0.0.2"]
    named = entry(v2=["a.example"])
    next(iter(named.values()))["spec"]["resolution"] = "DNS"
    (found,) = serving_both(entry(v1=["10.0.0.1"]), {}, named).values()
    assert found["spec"]["resolution"] == "DNS"


def route(name: str, model: dict[str, str], version: str = "") -> dict[str, Any]:
    headers = {"x-model-name": model} if model else {}
    if version:
        headers["x-model-version"] = {"exact": version}
    return {"name": name, "match": [{"headers": headers}]}


def routes(*entries: dict[str, Any]) -> dict[Key, Doc]:
    return one("VirtualService", {"hosts": ["a"], "http": list(entries)})


EXACT, LONG, SHORT = {"exact": "m"}, {"regex": "m-.*"}, {"regex": ".*"}


@pytest.mark.parametrize(
    ("kept", "place"),
    [
        (route("b", EXACT, "v1"), 1),
        (route("b", LONG, "v1"), 3),
        (route("b", {"regex": "abc-.*"}, "v1"), 2),
        (route("b", SHORT, "v1"), 5),
        (route("b", {}, "v1"), 6),
        (route("b", EXACT), None),
        (route("a1", EXACT, "v1"), None),
        ({"name": "b", "route": []}, None),
    ],
)
def test_a_route_that_is_kept_stands_where_the_order_of_models_has_it(kept: dict[str, Any], place: int | None) -> None:
    wanted = [
        route("a1", EXACT, "v1"),
        route("a-model", EXACT),
        route("c1", LONG, "v1"),
        route("c-model", LONG),
        route("d1", SHORT, "v1"),
        route("d-model", SHORT),
        {"name": "d-default"},
    ]
    (found,) = serving_both(routes(*wanted), {}, routes(kept)).values()
    expected = wanted if place is None else [*wanted[:place], kept, *wanted[place:]]
    assert [r["name"] for r in found["spec"]["http"]] == [r["name"] for r in expected]
