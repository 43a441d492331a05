"""ServiceProfiles that Linkerd does not find or can not parse, and their effect on inference."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import service_profiles

from tests.lint.linkerd.corpus import bad, check, codes, service


@pytest.mark.parametrize("file", bad(service_profiles.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, service_profiles.RULES)


def profile(spec: str = "", name: str = "llm.ai.svc.cluster.local") -> str:
    return (
        "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\n"
        f"metadata: {{name: {name}, namespace: ai}}\nspec: {{{spec}}}\n"
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
