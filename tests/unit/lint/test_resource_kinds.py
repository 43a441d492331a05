"""Kinds and their versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.lint import resource_kinds
from tests.lint import corpus
from tests.lint.istio_objects import envoy_filter, ext_proc, http_filter, resource


@corpus.bad(resource_kinds)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(resource_kinds, path) == corpus.expected(resource_kinds, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(resource_kinds) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(resource_kinds, text)


def of(kind: str, version: str) -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n"


@pytest.mark.parametrize(
    ("kind", "version", "found"),
    [
        ("VirtualService", "networking.istio.io/v1", []),
        ("VirtualService", "networking.istio.io/v1beta1", ["AIM003"]),
        ("VirtualService", "networking.istio.io/v1alpha3", ["AIM003"]),
        ("VirtualService", "networking.istio.io/v2", ["AIM002"]),
        ("VirtualService", "security.istio.io/v1", ["AIM002"]),
        ("VirtualService", "v1", ["AIM002"]),
        ("VirtualService", "''", ["AIM002"]),
        ("EnvoyFilter", "networking.istio.io/v1alpha3", []),
        ("EnvoyFilter", "networking.istio.io/v1", ["AIM002"]),
        ("WasmPlugin", "extensions.istio.io/v1alpha1", []),
        ("VirtualServise", "networking.istio.io/v1", ["AIM004"]),
        ("Gateway", "gateway.networking.k8s.io/v1", []),
        ("Gateway", "networking.istio.io/v1", []),
        ("Gateway", "v1", ["AIM002"]),
        ("Deployment", "apps/v1", []),
        ("Anything", "example.com/v1", []),
        ("ModelInferencePolicy", "ai.istio.io/v1alpha1", ["AIM005"]),
        ("GpuPool", "ai.istio.io/v1alpha1", ["AIM005"]),
        ("GpuPools", "ai.istio.io/v1alpha1", ["AIM004"]),
    ],
)
def test_kinds_and_versions(kind: str, version: str, found: list[str]) -> None:
    assert codes(of(kind, version)) == found


def test_the_newest_version_is_the_remedy() -> None:
    (old,) = corpus.findings(resource_kinds, of("Telemetry", "telemetry.istio.io/v1alpha1"))
    assert (old.path, old.remedy) == ("apiVersion", "write telemetry.istio.io/v1")
    (none,) = corpus.findings(resource_kinds, of("Telemetry", "''"))
    assert none.message == "Telemetry has no version without a name"


def test_a_policy_beside_an_envoy_filter_that_calls_a_processor() -> None:
    policy = resource("ModelInferencePolicy", models=["a"])
    assert codes(policy + envoy_filter(http_filter(ext_proc()))) == []
    assert codes(policy + envoy_filter(http_filter({"@type": "a.B"}))) == ["AIM005"]
