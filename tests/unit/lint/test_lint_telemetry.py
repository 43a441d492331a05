"""Tags of Telemetries that are always unknown, or have too many values."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.lint import telemetry
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(telemetry)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(telemetry, path) == corpus.expected(telemetry, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(telemetry) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(telemetry, text)


def tag(expression: str, mode: str = "CLIENT") -> str:
    override = {"match": {"mode": mode}, "tagOverrides": {"tag": {"value": expression}}}
    return resource("Telemetry", metrics=[{"overrides": [override]}])


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("request.headers['x-model-version']", []),
        ("request.headers['X-Model-Version']", []),
        ("request.headers['x-tier']", ["AIM405"]),
        ("request.headers['x-tier'] == 'gold' ? 'gold' : 'other'", []),
        ("request.headers['x-tier'] == 'gold' ? request.headers['x-tier'] : 'other'", ["AIM405"]),
        ("request.headers['x-user']", ["AIM404"]),
        ("request.headers['x-request-id']", ["AIM404"]),
        ("request.headers['x-model-id'] + request.path", ["AIM404"]),
        ("request.path", ["AIM404"]),
        ("request.path == '/' ? 'a' : 'b'", []),
        ("request.path.startsWith('/v1')", []),
        ("request.nothing", ["AIM402"]),
        ("nothing", ["AIM402"]),
        ("response.code", []),
        ("string(response.code)", ["AIM401"]),
        ("'v1'", []),
        ("v1", ["AIM402"]),
        ("'v1", ["AIM401"]),
    ],
)
def test_tags(expression: str, found: list[str]) -> None:
    assert codes(tag(expression)) == found


@pytest.mark.parametrize(
    ("expression", "mode", "found"),
    [
        ("filter_state.upstream_peer.labels['version']", "CLIENT", []),
        ("filter_state.upstream_peer.labels['version']", "SERVER", ["AIM403"]),
        ("filter_state.upstream_peer.labels['version']", "CLIENT_AND_SERVER", []),
        ("filter_state.downstream_peer.labels['app']", "CLIENT", ["AIM403"]),
        ("filter_state.downstream_peer.labels['app']", "SERVER", []),
        ("filter_state.upstream_peer.labels['gpu']", "CLIENT", ["AIM406"]),
        ("filter_state.upstream_peer.name", "CLIENT", []),
        ("filter_state.other.labels['gpu']", "CLIENT", []),
    ],
)
def test_tags_of_the_peer(expression: str, mode: str, found: list[str]) -> None:
    assert codes(tag(expression, mode)) == found


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("response.code >= 400", []),
        ("response.cod >= 400", ["AIM402"]),
        ("response.code >=", ["AIM409"]),
        ("request.path == '/healthz'", []),
    ],
)
def test_filters_of_access_logs(expression: str, found: list[str]) -> None:
    assert codes(resource("Telemetry", accessLogging=[{"filter": {"expression": expression}}])) == found


def test_telemetries_without_a_selector() -> None:
    one, two = resource("Telemetry", "one"), resource("Telemetry", "two", metrics=[])
    assert codes(one + two) == ["AIM407"]
    assert codes(one + two + resource("Telemetry", "three")) == ["AIM407", "AIM407"]
    assert codes(one + resource("Telemetry", "two", "other")) == []
    assert codes(one + resource("Telemetry", "two", selector={"matchLabels": {"a": "b"}})) == []
    assert codes(one + resource("Telemetry", "two", targetRefs=[{"name": "gateway"}])) == []
    assert codes(one + resource("Telemetry", "one", metrics=[])) == [], "that is one object, written twice"


def test_an_annotation_of_the_time_of_wasm_on_a_workload_or_its_pods() -> None:
    name = "sidecar.istio.io/extraStatTags"
    assert codes(resource("Deployment", annotations={name: "a"})) == ["AIM408"]
    pods = {"metadata": {"annotations": {name: "a"}}}
    (found,) = corpus.findings(telemetry, resource("Deployment", template=pods))
    assert found.path == f"spec.template.metadata.annotations.{name}"
