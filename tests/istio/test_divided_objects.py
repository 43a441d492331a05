"""Very many policies: what is too large for one object is divided, in an order that serves alike, in linear time."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from extproc.kubernetes.mesh_objects import Layer, changes, controlled
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.document import Doc
from extproc.render.istio import envoy_filters, virtual_services
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents

OPTIONS = IstioOptions()
OBJECT_LIMIT = 3 << 19
"""Bytes that etcd takes in one request."""


def many(count: int) -> Snapshot:
    versions = (Version("v1", 9), Version("v2", 1))
    every = [Policy(f"p{n}", "ai", host=f"h{n}", models=(f"m{n}", f"n{n}"), versions=versions) for n in range(count)]
    globs = Policy("globs", "ai", host="globs", models=("m*", "*"), versions=versions)
    return Snapshot((globs, *every))


def of_kind(docs: Iterable[Doc], kind: str, name: str) -> list[Doc]:
    return [doc for doc in docs if doc["kind"] == kind and doc["metadata"]["name"].startswith(name)]


def joined(docs: list[Doc]) -> list[Doc]:
    """The routes of the gateway as istiod has them: those of each VirtualService in the place where it is included."""
    services = {doc["metadata"]["name"]: doc["spec"] for doc in of_kind(docs, "VirtualService", "aimesh-gateway")}
    found: list[Doc] = []
    for route in services["aimesh-gateway"]["http"]:
        found += services[route["delegate"]["name"]]["http"] if "delegate" in route else [route]
    return found


def models(route: Doc) -> list[str]:
    matches = route.get("match", ({"headers": {}},))
    return [match["headers"].get("x-model-name", {}).get("exact", "") for match in matches]


def of_each_model(routes: list[Doc]) -> dict[str, list[Doc]]:
    """The routes that requests for one model may take, in order: those for its exact name, and the others."""
    names = {model for route in routes for model in models(route)}
    return {
        name: [{**route, "match": None} for route in routes if name in models(route) or "" in models(route)]
        for name in names
    }


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> list[Doc]:
    """Twenty policies in objects that are too small for them."""
    monkeypatch.setattr(virtual_services, "MAX_ROUTES", 40)
    monkeypatch.setattr(envoy_filters, "MAX_PATCHES", 10)
    return documents(many(20), OPTIONS)


def test_nothing_is_lost_by_dividing(divided: list[Doc], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    whole = documents(many(20), OPTIONS)
    assert len(of_kind(whole, "VirtualService", "aimesh-gateway")) == 1
    assert len(of_kind(divided, "VirtualService", "aimesh-gateway")) > 5
    assert of_each_model(joined(divided)) == of_each_model(joined(whole))
    assert joined(divided)[-1]["name"] == "globs-default"
    for name in ("aimesh-gateway", "aimesh-sidecar"):
        first, *others = of_kind(divided, "EnvoyFilter", name)
        assert others
        enabling = {patch["applyTo"] for each in others for patch in each["spec"]["configPatches"]}
        assert enabling == {"VIRTUAL_HOST", "HTTP_ROUTE"}
        (one,) = of_kind(whole, "EnvoyFilter", name)
        patches = [patch for each in (first, *others) for patch in each["spec"]["configPatches"]]
        assert Counter(map(json.dumps, patches)) == Counter(map(json.dumps, one["spec"]["configPatches"]))
        assert all(each["spec"] | {"configPatches": []} == one["spec"] | {"configPatches": []} for each in others)


def test_one_more_policy_changes_few_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_services, "MAX_ROUTES", 40)
    monkeypatch.setattr(envoy_filters, "MAX_PATCHES", 10)
    options = IstioOptions(proxies=("gateway",), hosts=("a",))
    before, after = (controlled(documents(many(count), options), "istio") for count in (20, 21))
    changed = [key for key in after if before.get(key) != after[key] and key.kind == "VirtualService"]
    assert {key.name.partition("-part-")[0] for key in changed} == {"aimesh-gateway"}
    assert len(changed) <= 3, "two models are in two parts at the most"


def test_what_is_included_is_written_before_what_includes_it(divided: list[Doc]) -> None:
    wanted = controlled(divided, "istio")
    found = changes(wanted, {}, (Layer.ROUTES,), remove=False)
    assert {doc["metadata"]["name"] for doc in found.apply} == {"aimesh-gateway"}
    stale: dict[Any, Doc] = {key: {**doc, "spec": {"http": []}} for key, doc in wanted.items()}
    found = changes(wanted, stale, (Layer.ROUTES,), remove=False)
    assert found.first
    assert all("hosts" not in doc["spec"] for doc in found.first)
    assert all("hosts" in doc["spec"] for doc in found.apply)


def test_a_thousand_policies_fit_and_twice_as_many_take_twice_as_long() -> None:
    assert max(len(json.dumps(doc)) for doc in documents(many(1000), OPTIONS)) < OBJECT_LIMIT // 2
    assert calls(400) < 2.2 * calls(200)


def calls(count: int) -> int:
    """Function calls of a rendering, those of C functions too."""
    snapshot, found = many(count), 0

    def called(_: object, event: str, __: object) -> None:
        nonlocal found
        found += event.endswith("call")

    documents(snapshot, OPTIONS)
    sys.setprofile(called)
    try:
        documents(snapshot, OPTIONS)
    finally:
        sys.setprofile(None)
    return found
