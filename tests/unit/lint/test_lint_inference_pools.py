"""InferencePools, and routes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.lint import inference_pools
from tests.lint.corpus import bad, expected, found, found_codes, found_in_good


@bad(inference_pools)
def test_bad_manifests(path: Path) -> None:
    assert found(inference_pools, path) == expected(inference_pools, path)


def test_good_manifests() -> None:
    assert found_in_good(inference_pools) == []


POOL = "{group: inference.networking.k8s.io, kind: InferencePool, name: chat}"
SERVICE = "{name: old, port: 80}"


@pytest.mark.parametrize(
    ("rule", "codes"),
    [
        (f"{{backendRefs: [{POOL}]}}", []),
        (f"{{backendRefs: [{POOL}, {SERVICE}]}}", ["AIM801"]),
        (f"{{backendRefs: [{SERVICE}, {SERVICE}]}}", []),
        ("{backendRefs: [{group: example.com, kind: InferencePool, name: a}, {name: b}]}", []),
        (f"{{filters: [{{type: CORS}}], backendRefs: [{SERVICE}]}}", []),
        (f"{{filters: [{{type: CORS}}], backendRefs: [{POOL}]}}", ["AIM805"]),
        ("{backendRefs: 5}", []),
    ],
)
def test_rules_of_routes(rule: str, codes: list[str]) -> None:
    head = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n"
    assert found_codes(inference_pools, f"{head}spec: {{rules: [{rule}]}}\n") == codes


def test_a_picker_that_is_not_given_is_not_judged() -> None:
    head = "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: {name: a}\n"
    assert found_codes(inference_pools, f"{head}spec: {{endpointPickerRef: {{name: b, port: {{number: 1}}}}}}\n") == []
    assert found_codes(inference_pools, f"{head}spec: {{}}\n") == []
    pool = f"{head}spec: {{endpointPickerRef: {{name: b, port: {{number: 1}}}}}}\n".replace(
        "name: a", "name: a, namespace: c"
    )
    service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\n"
    assert found_codes(inference_pools, pool + service) == [], "kustomize may put it beside the pool"
    assert found_codes(inference_pools, pool + service.replace("name: b", "name: b, namespace: d")) == ["AIM802"]
