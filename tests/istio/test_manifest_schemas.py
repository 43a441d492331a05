"""Every manifest that we render or have checked in: by the CRDs of Istio, by Kubernetes' schemas, by Envoy's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import re2
import yaml

from extproc.cli.main import main
from extproc.errors import SetupError
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.picking import Picking
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, RetryBudget, Snapshot, Sticky, Version
from extproc.policy.upstream import Credentials, PathRewrite, Tls, Upstream
from extproc.policyfile import loader
from extproc.render.envoy.clusters import clusters
from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.istio.manifests import PROXY_KINDS, RELEASES, IstioOptions, documents, notes
from tests import fast_yaml
from tests.house.tree import ROOT
from tests.istio import envoy_api, rendered
from tests.manifests import core, crds
from tests.manifests.planting import planted

ISTIO = "istio-1.30.3"
FOLDER = ROOT / "istio"
GPUS = (
    GpuPool(
        "West_1", Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 81920), ("10.0.0.1:1", "[fd::1]:2"), "us/a"
    ),
    GpuPool("east", Gpu("", "h100", "hopper", "9.0", 81559), ("model.example.com:80",), metrics_type="vllm"),
)
MANY = tuple(f"meta-llama/Llama-3.{n}" for n in range(50))
SNAPSHOTS = {
    "nothing": Snapshot(),
    "article": Snapshot((Policy("article", host="model", timeout=60.0, retry_budget=RetryBudget(0.25, 10)),)),
    "names": Snapshot(
        (
            Policy("A.b_C", "ai", (("app", "x"),), "h", versions=(Version("V1.0"), Version("v1-0")), models=MANY),
            Policy("g" * 63, "ml", host="h.ai.svc.cluster.local", port=80, models=("ünï ✓*x*", "*"), allow_pin=True),
        )
    ),
    "pools": Snapshot(
        (
            Policy("p", gpu=Requirement(), host="p", reject_without_gpu=False, versions=(Version("v1"),)),
            Policy("q", gpu=Requirement("t4"), host="q", models=("q",)),
        ),
        GPUS,
    ),
    "mirrored": Snapshot(
        (
            Policy(
                "m",
                host="m",
                versions=(
                    Version("v1", 3, ("one.ai.svc.cluster.local:8000",)),
                    Version("v2", 0, ("10.0.0.1:1",), match=(HeaderMatch((("x-beta", b"1"),)),), model_rewrite="x"),
                    Version("next", 0, ("10.0.0.2:1", "10.0.0.3:1"), mirror=33),
                ),
                sticky=Sticky(header="x-user"),
            ),
        )
    ),
    "outside": Snapshot(
        (
            Policy(
                "o",
                host="o",
                versions=(
                    Version(
                        "v1",
                        upstream=Upstream(Tls("/ca", "/crt", "/key", "a.example"), credentials=Credentials("/k/a")),
                        endpoints=("10.0.0.1:443", "a.example:443"),
                        grpc_endpoints=("a.example:8443",),
                    ),
                    Version("v2", 1, ("[fd00::1]:443",), upstream=Upstream(Tls(verify=False))),
                ),
            ),
            Policy(
                "r", host="r", models=("r",), versions=(Version("v1", upstream=Upstream(None, PathRewrite("/v1"))),)
            ),
        ),
    ),
    "picking": Snapshot(
        (
            Policy("p", host="p", models=("p",), picking=Picking(), versions=(Version("v1"), Version("v2"))),
            Policy(
                "q",
                host="q",
                picking=Picking("session"),
                gpu=Requirement(),
                load_balancer=LoadBalancer("consistentHash", "x-user"),
                reject_without_gpu=False,
                versions=(Version("v1"),),
            ),
        ),
        GPUS,
    ),
    "demo": loader.load([ROOT / "tests" / "istioctl" / "demo.yaml"]).snapshot,
}
OPTIONS = {
    "default": IstioOptions(),
    "everything": IstioOptions(
        proxies=PROXY_KINDS, hosts=("llm.example.com",), access_log="aimesh-json", fail_open=False
    ),
    "old": IstioOptions(proxies=PROXY_KINDS, release="1.28", meshed_endpoints=True, callers="web", body="streamed"),
    "dns": IstioOptions(processors=("dns:///a.example.com:1", "dns:///10.0.0.1:2")),
    "unix": IstioOptions(processors=("unix:///run/p.sock-1", "unix:///run/p.sock-2"), release="1.29"),
}
EVERY = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
CASES = pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS)
CHECKED_IN = sorted(path for path in FOLDER.rglob("*.yaml"))
NOT_OF_ISTIO_OR_KUBERNETES = ("ai.istio.io/", "kustomize.config.k8s.io/", "monitoring.coreos.com/")


def checked_in() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in CHECKED_IN:
        for document in yaml.load_all(path.read_text(), crds.LOADER):
            if "apiVersion" in document:
                yield path, document


@crds.needed
@CASES
@EVERY
def test_istios_crds_take_it(snapshot: Snapshot, options: IstioOptions) -> None:
    for document in documents(snapshot, options):
        assert crds.problems(document, [ISTIO]) == []


@CASES
@EVERY
def test_envoys_api_takes_every_patch(snapshot: Snapshot, options: IstioOptions) -> None:
    for document in documents(snapshot, options):
        if document["kind"] == "EnvoyFilter":
            assert envoy_api.problems(document) == []


@CASES
@EVERY
def test_routes_lead_to_what_there_is(snapshot: Snapshot, options: IstioOptions) -> None:
    """Every subset that a route names is a DestinationRule's; every route for a host ends with one for all requests."""
    found = documents(snapshot, options)
    subsets = {
        (rule["spec"]["host"], subset["name"])
        for rule in found
        if rule["kind"] == "DestinationRule"
        for subset in rule["spec"].get("subsets", ())
    }
    for service in (each for each in found if each["kind"] == "VirtualService"):
        http = service["spec"]["http"]
        assert ["match" in route for route in http].index(False) == len(http) - 1
        for route in http:
            to = [each["destination"] for each in (*route.get("route", ()), *route.get("mirrors", ()))]
            assert {(d["host"], d["subset"]) for d in to if "subset" in d} <= subsets
            assert "timeout" not in route
            assert all(len(h.get("regex", "")) <= 1024 for m in route.get("match", ()) for h in m["headers"].values())


@crds.needed
@pytest.mark.parametrize(("path", "document"), list(checked_in()), ids=lambda each: getattr(each, "stem", ""))
def test_what_is_checked_in_is_right(path: Path, document: dict[str, Any]) -> None:
    if not document["apiVersion"].startswith(NOT_OF_ISTIO_OR_KUBERNETES):
        assert core.all_problems(fast_yaml.dump(document)) == []
    if document["kind"] == "EnvoyFilter":
        assert envoy_api.problems(document) == []


@pytest.mark.parametrize("path", rendered.FILES, ids=lambda path: path.stem)
def test_rendered_examples_are_what_is_rendered(path: Path) -> None:
    assert path.read_text() == rendered.again(path), "python -m tests.istio.rendered makes them anew"


TYPOS = {
    "VirtualService": ("spec.http.0.rout", []),
    "DestinationRule": ("spec.trafficPolicy.outlierDetection.consecutive5xxError", 5),
    "ServiceEntry": ("spec.endpoint", []),
    "Telemetry": ("spec.metrics.0.override", []),
    "EnvoyFilter": ("spec.configPatches.0.aplyTo", "CLUSTER"),
    "Deployment": ("spec.template.spec.containers.0.imagePullPolcy", "Always"),
    "Service": ("spec.ports.0.targetport", 1),
    "ServiceAccount": ("automountToken", False),
    "Namespace": ("spec", {"finaliser": []}),
    "HorizontalPodAutoscaler": ("spec.minReplica", 1),
    "PodDisruptionBudget": ("spec.maxUnavailible", 1),
    "NetworkPolicy": ("spec.egres", []),
    "CustomResourceDefinition": ("spec.versions.0.serve", True),
}


@crds.needed
@pytest.mark.parametrize("kind", TYPOS)
def test_a_planted_typo_is_caught(kind: str) -> None:
    path, value = TYPOS[kind]
    manifest = next(document for _, document in checked_in() if document["kind"] == kind)
    assert core.all_problems(fast_yaml.dump(manifest)) == []
    assert core.all_problems(fast_yaml.dump(planted(manifest, path, value))) != []


@pytest.mark.parametrize(
    ("which", "path", "value"),
    [
        ("NETWORK_FILTER", "typed_config.early_header_mutation_extension", []),
        ("aimesh.route", "typed_config.message_timeot", "1s"),
        ("aimesh.route", "typed_config.message_timeout", "soon"),
        ("aimesh.route", "typed_config.processing_mode.request_body_mode", "BUFERED"),
        ("aimesh.route", "disable", True),
        ("aimesh.admitted", "typed_config.on_request_heders", []),
        ("aimesh.observe", "typed_config.xds_matchr", {}),
        ("aimesh.observe", "typed_config.extension_config.typed_config.message_timeot", "1s"),
        ("VIRTUAL_HOST", "request_body_limit", 1),
        ("VIRTUAL_HOST", "typed_per_filter_config", {"a": {"@type": "type.googleapis.com/envoy.config.route.v3.No"}}),
        ("HTTP_ROUTE", "rout", {}),
        ("CLUSTER", "load_asignment", {}),
    ],
)
def test_a_planted_typo_in_a_patch_is_caught(which: str, path: str, value: object) -> None:
    """``which``: what the patch applies to, or the name that it gives."""
    unix = IstioOptions(processors=("unix:///run/p.sock",), proxies=("gateway",))
    filters = [d for d in documents(SNAPSHOTS["demo"], unix) if d["kind"] == "EnvoyFilter"]
    patches = filters[0]["spec"]["configPatches"]
    patch = next(p for p in patches if which in (p["applyTo"], p["patch"]["value"].get("name")))
    assert envoy_api.problems(filters[0]) == []
    wrong = {"spec": {"configPatches": [planted(patch, f"patch.value.{path}", value)]}}
    assert len(envoy_api.problems(wrong)) == 1


@EVERY
def test_no_patch_falls_into_a_known_trap(options: IstioOptions) -> None:
    for document in documents(SNAPSHOTS["demo"], options):
        for patch in document["spec"].get("configPatches", ()):
            assert "filterClass" not in patch["patch"]
            assert patch["match"]["context"] != "ANY"
            if patch["applyTo"] == "HTTP_FILTER":
                anchor = patch["match"]["listener"]["filterChain"]["filter"]["subFilter"]["name"]
                assert (patch["patch"]["operation"], anchor) == ("INSERT_BEFORE", "envoy.filters.http.grpc_stats")
                assert patch["patch"]["value"]["name"] != "envoy.filters.http.ext_proc"


@pytest.mark.parametrize("snapshot", [SNAPSHOTS["article"], SNAPSHOTS["pools"]])
def test_what_may_be_changed_suits_an_envoy_with_its_own_limit(snapshot: Snapshot) -> None:
    filters = [d for d in documents(snapshot, IstioOptions()) if d["kind"] == "EnvoyFilter"]
    values = [p["patch"]["value"].get("typed_config", {}) for d in filters for p in d["spec"]["configPatches"]]
    texts = {v["mutation_rules"]["allow_expression"]["regex"] for v in values if "mutation_rules" in v}
    assert {re2.compile(text).programsize <= 100 for text in texts} == {True}


def test_model_servers_are_treated_as_by_the_bare_envoy() -> None:
    snapshot = SNAPSHOTS["article"]
    (rule,) = [
        d["spec"]["trafficPolicy"] for d in documents(snapshot, IstioOptions()) if d["kind"] == "DestinationRule"
    ]
    bare = clusters(snapshot, EnvoyOptions())[0]
    limits, ejection = bare["circuit_breakers"]["thresholds"][0], bare["outlier_detection"]
    assert rule["connectionPool"]["http"]["http2MaxRequests"] == limits["max_requests"]
    assert rule["connectionPool"]["http"]["http1MaxPendingRequests"] == limits["max_pending_requests"]
    assert rule["connectionPool"]["tcp"]["connectTimeout"] == bare["connect_timeout"]
    assert rule["retryBudget"]["percent"] == limits["retry_budget"]["budget_percent"]["value"] == 25
    assert rule["retryBudget"]["minRetryConcurrency"] == limits["retry_budget"]["min_retry_concurrency"] == 10
    for theirs, ours in (
        ("consecutiveGatewayErrors", "consecutive_gateway_failure"),
        ("consecutiveLocalOriginFailures", "consecutive_local_origin_failure"),
        ("consecutive5xxErrors", "enforcing_consecutive_5xx"),
        ("interval", "interval"),
        ("baseEjectionTime", "base_ejection_time"),
        ("maxEjectionPercent", "max_ejection_percent"),
    ):
        assert rule["outlierDetection"][theirs] == ejection[ours], theirs


@pytest.mark.parametrize("where", ["gateway", "sidecar", "waypoint"])
def test_an_upload_that_trickles_has_an_end_wherever_bodies_are_waited_for(where: Any) -> None:
    """Istio itself sets no such time, and none for quiet streams."""
    filters = [d for d in documents(SNAPSHOTS["article"], IstioOptions(proxies=(where,))) if d["kind"] == "EnvoyFilter"]
    managers = [
        patch["patch"]["value"]["typed_config"]
        for document in filters
        for patch in document["spec"]["configPatches"]
        if patch["applyTo"] == "NETWORK_FILTER"
    ]
    assert [manager["request_timeout"] for manager in managers] == ["300s"]


def test_who_only_watches_routes_nothing() -> None:
    found = documents(loader.load([FOLDER / "policy.yaml"]).snapshot, IstioOptions(proxies=("inbound",)))
    assert {each["kind"] for each in found} == {"Telemetry", "EnvoyFilter"}


def test_newer_fields_are_only_for_newer_releases() -> None:
    budgeted = SNAPSHOTS["article"]
    found = {release: str(documents(budgeted, IstioOptions(release=release))) for release in RELEASES}
    newest_in = {
        "formatter": ["1.29", "1.30", "1.31"],
        "allow_content_length_header": ["1.30", "1.31"],
        "budgetInterval": ["1.31"],
    }
    assert {word: [r for r, text in found.items() if word in text] for word in newest_in} == newest_in
    told = {release: " ".join(notes(budgeted, IstioOptions(release=release))) for release in RELEASES}
    assert ["budgetInterval" in told[r] for r in RELEASES] == [True, True, True, False]
    assert ["formatter" in told[r] for r in RELEASES] == [True, False, False, False]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (IstioOptions(processors=("a:1", "b:1")), "a Service is one processor address"),
        (IstioOptions(gateway="public"), "NAMESPACE/NAME"),
        (IstioOptions(processors=("aimesh-extproc:50051",)), "not the whole name of a Service"),
    ],
)
def test_options_that_contradict_themselves(options: IstioOptions, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        documents(SNAPSHOTS["demo"], options)


@pytest.mark.parametrize("options", ["--for gateway --for sidecar", "--for inbound", "--for waypoint --fail-closed"])
def test_our_own_linter_finds_nothing(options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In what we render, together with what is installed and the article's corrected snippets."""
    assert main(["render", "istio", "-f", str(FOLDER / "policy.yaml"), *options.split()]) == 0
    file = tmp_path / "rendered.yaml"
    file.write_text(capsys.readouterr().out)
    installed = [str(path) for path in CHECKED_IN if path.parent == FOLDER and "policy" not in path.name]
    # Examples are applied one by one (istio/README.md): two of them are DestinationRules of one host.
    for example in (FOLDER / "examples").glob("*.yaml"):
        if "policy" not in example.name:
            assert main(["check", "--istio", str(file), *installed, str(example)]) == 0, capsys.readouterr()
