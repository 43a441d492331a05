"""The names that the linter knows, against the CRD and against Envoy's API."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy_data_plane.envoy.config.route.v3 import Route, RouteAction, VirtualHost

from extproc.lint import envoy_filter_fields
from extproc.lint.envoy_filter_fields import ACTION, HOST, ROUTE, SPEC, Shape
from extproc.lint.field_names import DESTINATION_RULE, VIRTUAL_SERVICE
from extproc.lint.linter import lint
from tests.lint import corpus
from tests.manifests import crds

DOCUMENT = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
spec:
  configPatches:
  - applyTo: CLUSTER
    match: {context: GATEWAY}
    patch: {operation: MERGE, value: {connect_timeout: WRITTEN}}
"""


@corpus.bad(envoy_filter_fields)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_fields, path) == corpus.expected(envoy_filter_fields, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_fields) == []


def shape(schema: dict[str, Any]) -> Shape:
    """The fields of a CRD's schema."""
    below = schema.get("items", schema)
    return {name: shape(inner) for name, inner in below.get("properties", {}).items()}


def of_crd(kind: str) -> dict[str, Any]:
    """The fields of a kind of Istio, as its CRD has them."""
    files = crds.FOLDER.glob("istio-*.yaml")
    documents = (d for file in files for d in yaml.load_all(file.read_text(), crds.LOADER) if d)
    (crd,) = (d for d in documents if d["spec"]["names"]["kind"] == kind)
    found = dict(shape(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]))
    return {name: {} if name in ("tcp", "tls") and kind == "VirtualService" else below for name, below in found.items()}


@crds.needed
@pytest.mark.parametrize("kind", ["EnvoyFilter", "VirtualService", "DestinationRule"])
def test_an_object_has_the_fields_of_its_crd(kind: str) -> None:
    known = {"EnvoyFilter": SPEC, "VirtualService": VIRTUAL_SERVICE, "DestinationRule": DESTINATION_RULE}[kind]
    assert without_budgets(of_crd(kind)) == known


def without_budgets(found: Shape) -> Shape:
    """A retry budget's fields are another rule's affair."""
    return {name: {} if name == "retryBudget" else without_budgets(below) for name, below in found.items()}


@pytest.mark.parametrize(("known", "message"), [(HOST, VirtualHost), (ROUTE, Route), (ACTION, RouteAction)])
def test_hosts_and_routes_have_the_fields_of_envoys_api(known: Shape, message: Any) -> None:
    assert {field.name for field in dataclasses.fields(message)} - known.keys() == set()


@pytest.mark.parametrize("written", ["200ms", "1.5s", ".5s", "1m30s", "0s", "null"])
def test_what_go_reads_is_a_duration(written: str) -> None:
    assert lint([("f.yaml", DOCUMENT.replace("WRITTEN", written))]).findings == ()


@pytest.mark.parametrize("written", ["5", "'5'", "1d", "soon", "1 s", "-1s"])
def test_what_istiod_or_envoy_refuses_is_none(written: str) -> None:
    (found,) = lint([("f.yaml", DOCUMENT.replace("WRITTEN", written))]).findings
    assert (found.code, found.line) == ("AIM173", 8)
