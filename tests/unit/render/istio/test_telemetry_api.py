"""Telemetry objects: where they are, and tags whose values are the policies' own, whatever clients send."""

from __future__ import annotations

import pytest

from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.istio.istio_options import IstioOptions, Release
from extproc.render.istio.telemetry_api import tags, telemetries
from tests.unit.render.snapshots import CANARY, PLAIN, policy

MODEL = "request.headers['x-model-name']"


def model(*models: str) -> str:
    """The expression for a known model's name, without the check that there is one."""
    expression = tags(Snapshot((policy(models=models),)))["model_name"]
    prefix, suffix = "'x-model-name' in request.headers ? (", ") : 'none'"
    assert expression.startswith(prefix)
    assert expression.endswith(suffix)
    return expression.removeprefix(prefix).removesuffix(suffix)


@pytest.mark.parametrize(
    ("models", "expression"),
    [
        (("llama",), f"{MODEL} in ['llama'] ? {MODEL} : 'other'"),
        (("a", "b"), f"{MODEL} in ['a', 'b'] ? {MODEL} : 'other'"),
        (("*",), "'*'"),
        (("ünï",), f"{MODEL} == '%C3%BCn%C3%AF' ? 'ünï' : 'other'"),
        (("it's",), f"{MODEL} in ['it\\'s'] ? {MODEL} : 'other'"),
        (("a\\b",), f"{MODEL} in ['a\\\\b'] ? {MODEL} : 'other'"),
        (('a"b',), f"{MODEL} in ['a\"b'] ? {MODEL} : 'other'"),
        (("a*",), f"{MODEL}.startsWith('a') ? 'a*' : 'other'"),
        (("*a",), f"{MODEL}.endsWith('a') ? '*a' : 'other'"),
        (
            ("a*b*c",),
            f"{MODEL}.startsWith('a') && {MODEL}.contains('b') && {MODEL}.endsWith('c') ? 'a*b*c' : 'other'",
        ),
        (("a**c",), f"{MODEL}.startsWith('a') && {MODEL}.endsWith('c') ? 'a**c' : 'other'"),
        (("a*", "*", "aa*"), f"{MODEL}.startsWith('aa') ? 'aa*' : {MODEL}.startsWith('a') ? 'a*' : '*'"),
    ],
)
def test_models(models: tuple[str, ...], expression: str) -> None:
    assert model(*models) == expression


def test_versions_and_pools_are_those_of_policies() -> None:
    versions = (Version("v1"), Version("v2"), Version("copy", 0, mirror=1))
    snapshot = Snapshot(
        (policy(versions=versions), Policy("b", models=("b",), versions=(Version("v1"),))), (GpuPool("west", Gpu()),)
    )
    found = tags(snapshot)
    version, pool = "request.headers['x-model-version']", "request.headers['x-gpu-pool']"
    assert found["model_version"] == (
        f"'x-model-version' in request.headers ? ({version} in ['v1', 'v2'] ? {version} : 'other') : 'none'"
    )
    assert found["gpu_pool"] == f"'x-gpu-pool' in request.headers ? ({pool} in ['west'] ? {pool} : 'other') : 'none'"


def test_where_there_are_none_every_value_is_other() -> None:
    assert tags(PLAIN)["gpu_pool"] == "'x-gpu-pool' in request.headers ? ('other') : 'none'"


@pytest.mark.parametrize(
    ("options", "namespaces"),
    [
        (IstioOptions(), ["ai", "istio-ingress"]),
        (IstioOptions(callers="web"), ["ai", "istio-ingress", "web"]),
        (IstioOptions(proxies=("gateway",), callers="web", gateway="ai/g"), ["ai"]),
        (IstioOptions(proxies=("inbound",)), ["ai"]),
    ],
)
def test_one_for_each_namespace(options: IstioOptions, namespaces: list[str]) -> None:
    found = telemetries(CANARY, options)
    assert [one["metadata"]["namespace"] for one in found] == namespaces
    assert {(one["kind"], one["apiVersion"], one["metadata"]["name"]) for one in found} == {
        ("Telemetry", "telemetry.istio.io/v1", "aimesh")
    }


def test_metrics_and_traces_have_the_tags() -> None:
    spec = telemetries(CANARY, IstioOptions())[0]["spec"]
    overrides = spec["metrics"][0]["overrides"]
    assert [one["match"]["metric"] for one in overrides] == ["REQUEST_COUNT", "REQUEST_DURATION"]
    expected = {name: {"value": expression} for name, expression in tags(CANARY).items()}
    assert all(one["tagOverrides"] == expected for one in overrides)
    custom = spec["tracing"][0]["customTags"]
    assert custom["gpu_architecture"] == {"header": {"name": "x-gpu-architecture", "defaultValue": "none"}}


@pytest.mark.parametrize(("release", "known"), [("1.28", False), ("1.29", True)])
def test_the_route_s_name_is_for_newer_releases(release: Release, known: bool) -> None:
    spec = telemetries(CANARY, IstioOptions(release=release))[0]["spec"]
    assert ("route" in spec["tracing"][0]["customTags"]) is known


def test_logs_change_only_where_a_provider_is_named() -> None:
    assert "accessLogging" not in telemetries(CANARY, IstioOptions())[0]["spec"]
    spec = telemetries(CANARY, IstioOptions(access_log="json"))[0]["spec"]
    assert spec["accessLogging"] == [{"providers": [{"name": "json"}]}]
