"""What is rendered for Linkerd: valid by CRDs and Kubernetes' own schemas whatever the policy, and safe by design."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linkerd_adapter import manifests, plan
from linkerd_adapter.gateway import Options
from linkerd_adapter.lint.linter import lint
from linkerd_adapter.names import Service
from linkerd_adapter.unconvertible_rules import FILTERS
from linkerd_adapter.weights import weighted_backends

from extproc.gateway.envoy_binary import find_envoy
from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, RetryBudget, Snapshot, Sticky, Version
from extproc.render.envoy.routes import weighted_targets
from tests import fast_yaml
from tests.manifests import core, crds
from tests.policy_documents import load_texts

Doc = dict[str, Any]
OWN = Service("ai", "inference-gateway")
OPTIONS = Options(gateway=OWN)
NOT_SHIPPED = ("AuthorizationPolicy", "MeshTLSAuthentication")
"""Kinds of Linkerd's that are not among the CRDs here."""
APP = (("app", "chat"),)

ARTICLE = """
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: gpu-optimized-routing}
spec:
  selector: {matchLabels: {app: model-inference}}
  gpuRequirements: {minMemory: 8Gi, architecture: "a100"}
  trafficManagement: {timeout: 60s, retryBudget: {minRetriesPerSecond: 10, retryRatio: 0.25}}
  observability:
    customMetrics:
    - {name: "inference_throughput", type: GAUGE, labels: ["model_version", "gpu_type"]}
    - {name: "feature_cache_hit_ratio", type: GAUGE, labels: ["model_name"]}
"""
CANARY = Policy(
    "chat",
    "ai",
    APP,
    "chat.ai",
    models=("llama-3-8b", "llama-3-8b-*"),
    versions=(
        Version("v1", 90),
        Version("v2", 10, match=(HeaderMatch((("x-beta", b"true"),)),), model_rewrite="other"),
        Version("shadow", 0, mirror=20),
    ),
    sticky=Sticky(header="x-user-id"),
    allow_pin=True,
    timeout=0.25,
    retry_budget=RetryBudget(0.2, 10),
)
POOLS = (
    GpuPool("a100-west", describe("NVIDIA-A100-SXM4-80GB"), ("10.0.0.1:8000", "[fd00::1]:8000", "10.0.0.2:8001")),
    GpuPool("h100-east", describe("NVIDIA-H100-80GB-HBM3"), ("triton.gpus.svc:8000", "vllm.gpus.svc:8000")),
    GpuPool("t4", describe("Tesla-T4")),
)
SNAPSHOTS = {
    "article": load_texts([("policy.yaml", ARTICLE)]).snapshot,
    "canary": Snapshot((CANARY,)),
    "pools": Snapshot(
        (Policy("chat", "ai", APP, "chat", versions=(Version("v1"), Version("V_2.0")), gpu=Requirement()),), POOLS
    ),
    "shared": Snapshot(
        (
            Policy("a", "ai", APP, "chat", models=("a", "b*"), versions=(Version("v1", 3), Version("v2", 1))),
            Policy("b", "ai", APP, "chat", models=("ünï ✓", "x?[y].*"), versions=(Version("v1"),), timeout=60.0),
            Policy("c", "ai", APP, "chat"),
        )
    ),
    "many": Snapshot(
        (
            Policy(
                "chat", "ai", APP, "chat", versions=tuple(Version(f"v{n}", n == 0) for n in range(17)), default="v7"
            ),
            Policy("models", "ml", APP, "other.ml", models=tuple(f"meta-llama/Llama-3.1-{n}B" for n in range(400))),
            Policy("models-too", "ml", APP, "other.ml", models=("x",)),
        )
    ),
    "without selector": Snapshot((Policy("chat", "ai", (), "chat", versions=(Version("v1", 1, ("10.0.0.1:80",)),)),)),
    "starved": Snapshot(
        (Policy("chat", "ai", APP, "chat", versions=(Version("v1"),), gpu=Requirement("b200")),), POOLS
    ),
}


def rendered(snapshot: Snapshot, options: Options = OPTIONS) -> list[Doc]:
    return list(manifests.render(snapshot, {"policy.yaml": ARTICLE}, options).manifests)


def of(docs: list[Doc], kind: str) -> list[Doc]:
    return [doc for doc in docs if doc["kind"] == kind]


def problems(doc: Doc) -> list[str]:
    if doc["kind"] in NOT_SHIPPED:
        return list(crds.metadata_problems(doc["metadata"]))
    try:
        return core.problems(doc)
    except crds.UnknownKindError:
        return crds.problems(doc)


CHOSEN = Options(
    gateway=Service("edge", "gw"), target_port="http", app_protocol="http", audit=True, replicas=1, image="x:1"
)


@crds.needed
@pytest.mark.parametrize(
    ("name", "options"), [*((name, OPTIONS) for name in SNAPSHOTS), ("canary", CHOSEN), ("without selector", CHOSEN)]
)
def test_every_manifest_is_valid(name: str, options: Options) -> None:
    docs = rendered(SNAPSHOTS[name], options)
    assert {"Deployment", "Service", "ConfigMap", "ServiceAccount"} <= {doc["kind"] for doc in docs}
    assert [problem for doc in docs for problem in problems(doc)] == []
    assert list(fast_yaml.load_all("---\n".join(fast_yaml.dump(doc) for doc in docs))) == docs


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_what_holds_of_every_rendering(snapshot: Snapshot) -> None:
    docs = rendered(snapshot)
    assert all(doc["metadata"]["namespace"] for doc in docs)
    known = {(doc["kind"], doc["metadata"]["namespace"], doc["metadata"]["name"]) for doc in docs}
    assert len(known) == len(docs)
    services = {(ns, name): doc for kind, ns, name in known for doc in docs if kind == "Service"}
    made = plan.make(snapshot, "ai")
    taken = {
        (b.service.namespace, b.service.name)
        for ps in made.places.values()
        for p in ps
        for b in p.backends
        if not b.behind
    }
    for service in of(docs, "Service"):
        for port in service["spec"]["ports"]:
            assert port.get("appProtocol") in (None, "http", "kubernetes.io/h2c")
    for route in of(docs, "HTTPRoute"):
        _check_route(route, {*services, *taken})


def _check_route(route: Doc, services: set[tuple[str, str]]) -> None:
    own = route["metadata"]["namespace"]
    (parent,) = route["spec"]["parentRefs"]
    assert (parent["kind"], parent["group"], parent["namespace"]) == ("Service", "", own)
    assert parent["port"]
    assert set(route["spec"]) == {"parentRefs", "rules"}
    assert 1 <= len(route["spec"]["rules"]) <= 16
    annotations = route["metadata"].get("annotations", {})
    assert not {"timeout.linkerd.io/request", "timeout.linkerd.io/response"} & annotations.keys()
    for rule in route["spec"]["rules"]:
        assert set(rule) <= {"matches", "backendRefs"}
        assert rule["backendRefs"]
        assert len(rule["backendRefs"]) <= 16
        for ref in rule["backendRefs"]:
            assert ref["weight"] >= 1
            assert (ref["namespace"], ref["name"]) in services
            assert (ref["namespace"], ref["name"]) != (OWN.namespace, OWN.name)
        for match in rule.get("matches", ()):
            for header in match["headers"]:
                if header["type"] == "RegularExpression":
                    assert header["value"].startswith("^")
                    assert header["value"].endswith("$")
                assert len(header["value"]) <= 4096
        assert all(f["type"] in FILTERS for f in rule.get("filters", ()))


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_the_linter_finds_nothing(name: str) -> None:
    text = "---\n".join(fast_yaml.dump(doc) for doc in rendered(SNAPSHOTS[name]))
    found, _ = lint([("rendered.yaml", text)])
    assert found == []


@pytest.mark.envoy
@pytest.mark.parametrize("name", ["article", "shared", "many"])
def test_envoy_takes_the_bootstrap(name: str, tmp_path: Path) -> None:
    (config_map,) = [c for c in of(rendered(SNAPSHOTS[name]), "ConfigMap") if "envoy.yaml" in c["data"]]
    (tmp_path / "envoy.yaml").write_text(config_map["data"]["envoy.yaml"])
    command = [find_envoy(), "--mode", "validate", "-c", str(tmp_path / "envoy.yaml")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "deprecated" not in run.stderr.lower()


def test_envoy_refuses_requests_before_the_kernel_kills_it() -> None:
    documents = rendered(SNAPSHOTS["article"])
    (config_map,) = [c for c in of(documents, "ConfigMap") if "envoy.yaml" in c["data"]]
    (deployment,) = of(documents, "Deployment")
    envoy = next(c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "envoy")
    assert envoy["resources"]["limits"] == {"memory": "1024Mi"}
    heap = fast_yaml.load(config_map["data"]["envoy.yaml"])["overload_manager"]["resource_monitors"][0]
    assert 700 << 20 < heap["typed_config"]["max_heap_size_bytes"] < 900 << 20


def test_exact_rules_come_first_and_the_weights_last() -> None:
    (route,) = of(rendered(SNAPSHOTS["canary"]), "HTTPRoute")
    rules = route["spec"]["rules"]
    headers = [[(h["name"], h["type"], h["value"]) for m in r.get("matches", []) for h in m["headers"]] for r in rules]
    assert headers == [[("x-model-version", "Exact", "v1")], [("x-model-version", "Exact", "v2")], []]
    assert [[(b["name"], b["weight"]) for b in rule["backendRefs"]] for rule in rules] == [
        [("chat-v1", 1)],
        [("chat-v2", 1)],
        [("chat-v1", 90), ("chat-v2", 10)],
    ]


def test_timeouts_leave_streams_alone() -> None:
    (route,) = of(rendered(SNAPSHOTS["canary"]), "HTTPRoute")
    assert route["metadata"]["annotations"] == {
        "timeout.linkerd.io/idle": "60750ms",
        "retry.linkerd.io/http": "502,503",
        "retry.linkerd.io/limit": "1",
    }
    assert "annotations" not in of(rendered(SNAPSHOTS["shared"]), "HTTPRoute")[0]["metadata"]
    (envoy,) = [c for c in of(rendered(SNAPSHOTS["canary"]), "ConfigMap") if "envoy.yaml" in c["data"]]
    document = fast_yaml.load(envoy["data"]["envoy.yaml"])
    manager = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    found = manager["route_config"]["virtual_hosts"][0]["routes"]
    routes = [route for route in found if "upgrade_configs" not in route["route"]]  # one refuses what is no WebSocket
    assert {r["route"]["timeout"] for r in routes} == {"0s"}
    assert {r["route"]["retry_policy"]["per_try_timeout"] for r in routes} == {"0.25s"}


def test_breaking_is_the_apexes_and_for_those_who_want_retries() -> None:
    services = {
        s["metadata"]["name"]: s["metadata"].get("annotations", {})
        for s in of(rendered(SNAPSHOTS["canary"]), "Service")
    }
    assert services["chat"]["balancer.linkerd.io/failure-accrual"] == "consecutive"
    assert services["chat-v1"] == {}
    assert not any(s["metadata"].get("annotations") for s in of(rendered(SNAPSHOTS["shared"]), "Service"))


def test_addresses_are_found_by_the_name_of_their_port() -> None:
    """Linkerd dials a numeric targetPort as it stands; by a name it looks into the slices, which may have several."""
    docs = rendered(SNAPSHOTS["pools"])
    slices = [s for s in of(docs, "EndpointSlice") if s["metadata"]["name"].startswith("chat-v1-a100-west")]
    found = {(s["addressType"], s["ports"][0]["port"], *(e["addresses"][0] for e in s["endpoints"])) for s in slices}
    assert found == {("IPv4", 8000, "10.0.0.1"), ("IPv6", 8000, "fd00::1"), ("IPv4", 8001, "10.0.0.2")}
    (service,) = [s for s in of(docs, "Service") if s["metadata"]["name"] == "chat-v1-a100-west"]
    assert "selector" not in service["spec"]
    (port,) = service["spec"]["ports"]
    assert {port["name"], port["targetPort"], *(s["ports"][0]["name"] for s in slices)} == {"http"}
    assert {s["metadata"]["labels"]["kubernetes.io/service-name"] for s in slices} == {"chat-v1-a100-west"}


def test_only_the_gateway_may_call_model_servers() -> None:
    docs = rendered(SNAPSHOTS["shared"])
    (server,) = of(docs, "Server")
    assert server["spec"] == {"podSelector": {"matchLabels": {"app": "chat"}}, "port": 8080, "accessPolicy": "deny"}
    (policy,) = of(docs, "AuthorizationPolicy")
    assert policy["spec"]["targetRef"] == {"group": "policy.linkerd.io", "kind": "Server", "name": "chat"}
    (ref,) = policy["spec"]["requiredAuthenticationRefs"]
    (identity,) = of(docs, "MeshTLSAuthentication")
    assert (ref["kind"], ref["name"]) == ("MeshTLSAuthentication", identity["metadata"]["name"])
    (account,) = of(docs, "ServiceAccount")
    assert identity["spec"]["identityRefs"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]}
    ]
    (deployment,) = of(docs, "Deployment")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    audited = rendered(SNAPSHOTS["shared"], Options(gateway=OWN, audit=True))
    assert of(audited, "Server")[0]["spec"]["accessPolicy"] == "audit"


def test_the_gateway_is_injected_and_both_containers_share_what_they_need() -> None:
    (deployment,) = of(rendered(SNAPSHOTS["canary"]), "Deployment")
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"]["linkerd.io/inject"] == "enabled"
    envoy, processor = template["spec"]["containers"]
    shared = [{m["name"]: m["mountPath"] for m in c["volumeMounts"]}["sockets"] for c in (envoy, processor)]
    assert shared == ["/run/aimesh"] * 2
    assert "unix:///run/aimesh/processor.sock" in processor["args"]
    ports = {p["name"]: p["containerPort"] for p in envoy["ports"]}
    probes = [c[kind]["httpGet"]["port"] for c in (envoy, processor) for kind in c if kind.endswith("Probe")]
    assert set(probes) == {ports["probes"]}


NAMES = st.text("abcXYZ019._-", min_size=1, max_size=63).filter(lambda s: s[0].isalnum() and s[-1].isalnum())
GENERATED = st.builds(
    Policy,
    name=NAMES,
    namespace=st.sampled_from(["", "ai"]),
    selector=st.just(APP),
    host=st.sampled_from(["chat", "chat.ai", "chat.ai.svc.cluster.local"]),
    models=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4, unique=True).map(tuple),
    versions=st.lists(
        st.builds(Version, NAMES, st.integers(0, 1_000_000), gpu_pools=st.none() | st.just(("t4", "h100-east"))),
        max_size=5,
        unique_by=lambda v: v.name,
    ).map(tuple),
    gpu=st.none() | st.just(Requirement()),
    timeout=st.none() | st.floats(0.001, 86400),
)


def views() -> Iterator[st.SearchStrategy[Snapshot]]:
    for most in (1, 3):
        unique = st.lists(GENERATED, min_size=1, max_size=most, unique_by=(lambda p: p.name, lambda p: p.models[0]))
        yield unique.map(lambda policies: Snapshot(tuple(policies), POOLS))


@crds.needed
@given(st.one_of(*views()))
@settings(max_examples=3)  # a rule of the CRDs takes milliseconds
def test_any_policy_gives_valid_routes(snapshot: Snapshot) -> None:
    docs = rendered(snapshot)
    assert [problem for doc in docs if doc["kind"] in ("HTTPRoute", "Service") for problem in problems(doc)] == []


@given(st.one_of(*views()))
@settings(max_examples=40)
def test_weights_are_those_of_the_rendered_envoy(snapshot: Snapshot) -> None:
    """Only rounded where a rule's limit wants it."""
    made = plan.make(snapshot, "ai")
    for policy in snapshot.policies:
        ours = weighted_backends(made, policy, grpc=False)
        theirs = weighted_targets(snapshot, policy)
        total, wanted = sum(w for _, w in ours), sum(w for _, w in theirs)
        places = {place.target: {b.service for b in place.backends} for place in made.places[policy.name]}
        for target, weight in theirs:
            share = Fraction(sum(w for b, w in ours if b.service in places[target]), total)
            same = [t for t in places if places[t] & places[target]]
            if len(same) == 1:
                assert abs(share - Fraction(weight, wanted)) < Fraction(1, 10_000)
