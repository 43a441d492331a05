"""ServiceProfiles that mask routes or are not read, and their timeouts and retries."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import service_profiles

from tests.lint.linkerd.corpus import bad, check, codes, findings, route, service


@pytest.mark.parametrize("file", bad(service_profiles.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, service_profiles.RULES)


def profile(spec: str = "", name: str = "llm.ai.svc.cluster.local", namespace: str = "ai") -> str:
    return (
        "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )


def routed(route: str) -> str:
    return profile(f"routes: [{{name: a, {route}}}]")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (profile(), []),
        (profile(name="llm.ai.svc.k8s.example"), []),
        (profile(name="llm"), ["LNK513"]),
        (profile(name="llm.ai"), ["LNK513"]),
        (profile(name="llm.ai.svc"), ["LNK513"]),
        (profile(name="api.example.com"), []),
        (service() + profile(name="llm.ai.cluster.local"), ["LNK513"]),
        (profile("opaquePorts: ['80']"), ["LNK514"]),
        (profile("opaquePorts: {'80': {}}"), []),
        (routed("timeout: 25s"), ["LNK612"]),
        (routed("timeout: 0s"), []),
        (routed("timeout: 0h0m"), []),
        (routed("timeout: 1h0.5s"), ["LNK612"]),
        (routed("timeout: 25"), ["LNK614"]),
        (routed("timeout: soon"), ["LNK614"]),
        (routed("isRetryable: true"), ["LNK613"]),
        (routed("isRetryable: false"), []),
        (routed("isRetryable: true, condition: {method: GET}"), []),
        (routed("isRetryable: true, condition: {method: POST}"), ["LNK613"]),
        (routed("isRetryable: true, condition: {pathRegex: /a}"), ["LNK613"]),
        (routed("isRetryable: true, condition: {all: [{pathRegex: /a}, {method: head}]}"), []),
        (routed("isRetryable: true, condition: {any: [{method: GET}, {method: HEAD}]}"), []),
        (routed("isRetryable: true, condition: {any: [{method: GET}, {pathRegex: /a}]}"), ["LNK613"]),
        (routed("condition: {not: {any: [{pathRegex: '('}]}}"), ["LNK614"]),
        (routed("condition: {all: [{pathRegex: '/[^/]+'}]}"), []),
        (profile("retryBudget: {ttl: 10s, retryRatio: 0.2, minRetriesPerSecond: 10}"), []),
        (profile("retryBudget: {retryRatio: 1e-1}"), ["LNK614"]),
        (profile("retryBudget: {ttl: 10}"), ["LNK614"]),
        (profile("retryBudget: {ttl: 10s, retryRatio: -1}"), ["LNK614"]),
    ],
)
def test_profiles(text: str, found: list[str]) -> None:
    assert of(text) == found


ROUTE = route("{}")
ANNOTATED = service(metadata=", annotations: {retry.linkerd.io/limit: '1', other: x}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ROUTE + profile("routes: [{name: a}]"), ["LNK505"]),
        (ROUTE + profile("dstOverrides: [{authority: a}]"), ["LNK505"]),
        (ROUTE + profile("routes: []"), []),
        (profile("routes: [{name: a}]"), []),
        (ANNOTATED + profile("routes: [{name: a}]"), ["LNK507"]),
        (ANNOTATED + profile("routes: [{name: a}]", namespace="shop"), []),
    ],
)
def test_what_profiles_mask(text: str, found: list[str]) -> None:
    assert of(text) == found


def test_a_profile_of_clients_is_told_for_whom_it_counts() -> None:
    (found,) = [f for f in findings(ROUTE + profile("routes: [{name: a}]", namespace="shop")) if f.code == "LNK505"]
    assert found.message == "this ServiceProfile masks the routes of the Service llm for clients in shop"
