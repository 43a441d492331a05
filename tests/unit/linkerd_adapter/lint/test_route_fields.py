"""The fields of routes: types, limits, what is newer or older."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_fields

from tests.lint.linkerd.corpus import PARENT, backend, bad, check, codes, findings, route


@pytest.mark.parametrize("file", bad(route_fields.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_fields.RULES)


def version(api: str, rules: str = "{}") -> str:
    return route(rules).replace("gateway.networking.k8s.io/v1", api)


BACKEND = backend("a", ", weight: 1")
TIMED = "{timeouts: {request: 5s}}"


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("{}", []),
        (f"{{backendRefs: [{BACKEND}]}}", []),
        ("{matches: [{method: 1}]}", ["LNK003"]),
        ("{matches: {}}", ["LNK003"]),
        ("[]", ["LNK003"]),
        ("{matches: [{path: /v1}]}", ["LNK003"]),
        ("{matches: [{headers: [{name: a, value: yes}]}]}", ["LNK003"]),
        ("{matches: [{headers: [{name: a, value: 2026-01-01}]}]}", []),
        ("{backendRefs: [{name: a, port: '80'}]}", ["LNK003"]),
        ("{match: []}", ["LNK004"]),
        ("{name: a}", ["LNK005"]),
        ("{retry: {attempts: 2}}", ["LNK006"]),
        ("{sessionPersistence: {}}", ["LNK006"]),
        (f"{{matches: [{', '.join(['{}'] * 8)}]}}", []),
        (f"{{matches: [{', '.join(['{}'] * 9)}]}}", ["LNK007"]),
        (f"{{backendRefs: [{backend('a', ', weight: 1000000')}]}}", []),
        (f"{{backendRefs: [{backend('a', ', weight: 1000001')}]}}", ["LNK007"]),
        (f"{{backendRefs: [{backend('a', ', weight: -1')}]}}", ["LNK007"]),
        ("{filters: [{type: CORS, cors: {}, surprise: 1}]}", []),
        ("{filters: [{type: RequestMirror, requestMirror: {percent: 5}}]}", ["LNK005"]),
        ("{filters: [{type: RequestRedirect, requestRedirect: {port: http}}]}", ["LNK003"]),
    ],
)
def test_rules(rules: str, found: list[str]) -> None:
    assert of(route(rules)) == found


@pytest.mark.parametrize(
    ("api", "rules", "found"),
    [
        ("gateway.networking.k8s.io/v1", TIMED, []),
        ("gateway.networking.k8s.io/v1beta1", "{}", ["LNK010"]),
        ("policy.linkerd.io/v1beta3", TIMED, ["LNK008"]),
        ("policy.linkerd.io/v1beta2", TIMED, ["LNK008", "LNK009"]),
        ("policy.linkerd.io/v1beta2", f"{{backendRefs: [{BACKEND}]}}", ["LNK008"]),
        ("policy.linkerd.io/v1beta1", f"{{backendRefs: [{BACKEND}]}}", ["LNK008", "LNK009"]),
    ],
)
def test_versions_of_the_api(api: str, rules: str, found: list[str]) -> None:
    assert of(version(api, rules)) == found


def test_fields_of_one_kind_are_none_of_the_other() -> None:
    assert of(route("{matches: [{path: {value: /a}}]}", kind="GRPCRoute")) == ["LNK004"]
    assert of(route("{timeouts: {}}", kind="GRPCRoute")) == ["LNK004"]
    assert of(route("{matches: [{method: {service: s, method: m, type: Exact}}]}", kind="GRPCRoute")) == []


def test_routes_of_gateways_are_left_alone() -> None:
    assert of(route("{surprise: 1}", parents="{name: gw}")) == []


def test_fields_of_the_spec_and_of_parents() -> None:
    assert of(route("{}", spec=", useDefaultGateways: All")) == ["LNK005"]
    assert of(route("{}", parents=PARENT.replace("port: 80", "port: http"))) == ["LNK003"]
    assert of(route("{}", parents=PARENT.replace("port", "sectionName: a, port"))) == []
    assert of(route(", ".join(["{}"] * 17))) == ["LNK007"]


def test_a_number_in_quotes_is_told_how_to_be_written() -> None:
    (found,) = [f for f in findings(route("{backendRefs: [{name: a, port: '80'}]}")) if f.code == "LNK003"]
    assert found.remedy == "write 80"
    (found,) = [f for f in findings(route("{timeouts: {request: 5}}")) if f.code == "LNK003"]
    assert found.remedy == 'write "5", in quotes'
