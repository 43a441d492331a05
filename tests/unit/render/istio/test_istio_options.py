"""Options for Istio, and the names that manifests get."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import SetupError
from extproc.policy.snapshot import Policy
from extproc.render.istio.istio_options import (
    PROXY_KINDS,
    RELEASES,
    IstioOptions,
    Release,
    host_slug,
    manifest,
    namespace,
    service_host,
    slug,
    validated,
)

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = "p.ns.svc.cluster.local:50051"


@pytest.mark.parametrize(
    ("processors", "service", "cluster", "addresses"),
    [
        ((SERVICE,), ("p.ns.svc.cluster.local", 50051), "outbound|50051||p.ns.svc.cluster.local", (SERVICE,)),
        (("dns:///h:1", "dns:///[::1]:2"), None, "aimesh-processor", ("h:1", "[::1]:2")),
        (("unix:///s",), None, "aimesh-processor", ("unix:///s",)),
    ],
)
def test_where_the_processor_is(
    processors: tuple[str, ...], service: tuple[str, int] | None, cluster: str, addresses: tuple[str, ...]
) -> None:
    options = IstioOptions(processors=processors, body="streamed", fail_open=False)
    assert options.service == service
    assert (options.envoy.cluster, options.envoy.processors) == (cluster, addresses)
    assert (options.envoy.body, options.envoy.fail_open) == ("streamed", False)


@pytest.mark.parametrize("kind", PROXY_KINDS)
def test_only_model_servers_sidecars_route_nothing(kind: str) -> None:
    assert IstioOptions(proxies=(kind,)).routes is (kind != "inbound")  # type: ignore[arg-type]
    assert IstioOptions(proxies=("inbound", kind)).routes is (kind != "inbound")  # type: ignore[arg-type]


@pytest.mark.parametrize("release", RELEASES)
def test_releases_are_in_order(release: Release) -> None:
    options = IstioOptions(release=release)
    assert [one for one in RELEASES if options.since(one)] == list(RELEASES[: RELEASES.index(release) + 1])
    assert RELEASES[-1] == "1.31"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (IstioOptions(), []),
        (IstioOptions(body="streamed"), ["Envoy 1.40"]),
        (IstioOptions(body="streamed", release="1.29"), ["Envoy 1.40", "allow_content_length_header"]),
        (IstioOptions(proxies=("waypoint",)), ["waypoints"]),
        (IstioOptions(release="1.28"), ["formatter"]),
    ],
)
def test_what_a_user_is_told(options: IstioOptions, words: list[str]) -> None:
    notes = options.notes()
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


@pytest.mark.parametrize(
    "options",
    [IstioOptions(), IstioOptions(processors=("unix:///a", "dns:///b:1")), IstioOptions(gateway="a-1/b.c-2")],
)
def test_good_options_stay(options: IstioOptions) -> None:
    assert validated(options) is options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (IstioOptions(processors=(SERVICE, SERVICE)), "a Service is one processor address"),
        (IstioOptions(processors=("dns:///a:1", SERVICE)), "a Service is one processor address"),
        (IstioOptions(processors=("aimesh:50051",)), "not the whole name of a Service"),
        (IstioOptions(processors=("aimesh.ns:50051",)), "not the whole name of a Service"),
        (IstioOptions(gateway="public"), "no gateway; write --gateway NAMESPACE/NAME"),
        (IstioOptions(gateway="A/b"), "no gateway"),
        (IstioOptions(gateway="a/b/c"), "no gateway"),
    ],
)
def test_contradictions(options: IstioOptions, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        validated(options)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("chat", "chat.ai.svc.cluster.local"),
        ("chat.ml.svc", "chat.ml.svc.cluster.local"),
        ("chat.ml.svc.cluster.local", "chat.ml.svc.cluster.local"),
        ("model.example.com", "model.example.com"),
        ("[::1]", "[::1]"),
    ],
)
def test_hosts_are_whole_names(host: str, found: str) -> None:
    assert service_host(Policy("p", "ai", host=host), IstioOptions()) == found


def test_a_policy_without_a_namespace_is_in_the_option_s() -> None:
    options = IstioOptions(namespace="models")
    assert (namespace(Policy("p"), options), namespace(Policy("p", "ai"), options)) == ("models", "ai")
    assert service_host(Policy("p", host="h"), options) == "h.models.svc.cluster.local"


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_any_names_make_a_label(names: list[str]) -> None:
    assert LABEL.fullmatch(f"aimesh-{slug(*names)}")
    assert slug(*names) == slug(*names)


@pytest.mark.parametrize(
    ("parts", "found"), [(("chat", "v1"), "chat-v1"), (("", "v1", ""), "v1"), (("a" * 50,), "a" * 50)]
)
def test_names_that_fit_stay(parts: tuple[str, ...], found: str) -> None:
    assert slug(*parts) == found
    assert re.fullmatch(rf"{found[:41]}-[0-9a-f]{{8}}", slug(*parts, digested=True))


@pytest.mark.parametrize(
    ("one", "other"), [(("V1",), ("v1",)), (("a.b",), ("a-b",)), (("a" * 51,), ("a" * 52,)), (("a_", "b"), ("a", "_b"))]
)
def test_names_that_do_not_fit_are_told_apart(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert slug(*one) != slug(*other)
    assert len(slug(*one)) <= 50


def test_a_host_s_label_has_no_cluster_domain() -> None:
    assert host_slug("chat.ai.svc.cluster.local") == "chat-ai"
    assert host_slug("model.example.com") == "model-example-com"


def test_an_object() -> None:
    assert manifest("Kind", "group/v1", "n", "ns", {"a": 1}) == {
        "apiVersion": "group/v1",
        "kind": "Kind",
        "metadata": {"name": "n", "namespace": "ns", "labels": {"app.kubernetes.io/managed-by": "extproc"}},
        "spec": {"a": 1},
    }
    assert manifest("Kind", "group/v1", "n", "ns", {}, key="value")["metadata"]["annotations"] == {"key": "value"}
