"""What a rendering says it was made from is exactly what it depends on, and differences are told by their names."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.custom_metric import CustomMetric, Source
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.load_balancer import LEAST_REQUEST, LoadBalancer
from extproc.policy.picking import Picking
from extproc.policy.rollout_plan import RolloutPlan, RolloutState
from extproc.policy.snapshot import (
    GpuPool,
    HeaderMatch,
    Objective,
    Policy,
    RetryBudget,
    Slo,
    Snapshot,
    Sticky,
    Version,
)
from extproc.policy.upstream import Credentials, PathRewrite, Tls, Upstream
from extproc.policy.weights_from import HTTP_ROUTE, WeightsFrom
from extproc.render.document import Doc
from extproc.render.istio.manifests import IstioOptions, documents
from extproc.render.istio.provenance import (
    ANNOTATION,
    MAX_PART_LENGTH,
    Difference,
    annotation,
    concerns,
    differences,
    metadata,
    parts,
)
from tests.unit.render.snapshots import A100

BETA, GAMMA = ((HeaderMatch(((name, b"1"),)),) for name in ("x-beta", "x-gamma"))
WEST = GpuPool("west", A100, ("10.0.0.1:80", "10.0.0.2:80"))
CHAT = Policy(
    "chat",
    "ai",
    (("app", "chat"),),
    "chat",
    models=("llama", "llama-*"),
    versions=(Version("v1", 9), Version("v2", 1, ("10.0.0.1:80",), match=BETA)),
    gpu=Requirement("a100"),
)
IRIS = Policy("iris", "ai", (("app", "iris"),), "iris", models=("*",))
BASE = Snapshot((CHAT, IRIS), (WEST,))
EVERY = IstioOptions(proxies=("gateway", "sidecar", "inbound", "waypoint"), rules=True)

POLICY: dict[str, tuple[Any, ...]] = {
    "name": ("talk",),
    "namespace": ("ml",),
    "selector": ((("app", "talk"),),),
    "host": ("talk", "iris"),
    "port": (80,),
    "models": (("llama",), ("llama-*", "llama"), ("llama", "llama-*", "qwen"), ("llama, x", "ünï")),
    "versions": (CHAT.versions[:1], (*CHAT.versions, Version("v3")), CHAT.versions[::-1]),
    "sticky": (Sticky(header="x-user-id"), Sticky(cookie="sid"), Sticky(body=("user",))),
    "allow_pin": (True,),
    "reject_without_gpu": (False,),
    "reject_unreadable": (True,),
    "reject_unowned": (True,),
    "gpu": (None, Requirement("a100", 1), Requirement("h100")),
    "weights_from": (WeightsFrom(HTTP_ROUTE, "chat", (("v1", "chat"), ("v2", "chat-canary"))),),
    "timeout": (30.0,),
    "retry_budget": (RetryBudget(0.5, 1),),
    "breaker": (CircuitBreaker(), CircuitBreaker(fallback_policy="iris")),
    "custom_metrics": (
        (CustomMetric("busy", "GAUGE", (), Source(header="x-busy")),),
        (CustomMetric("long", "GAUGE", (), Source(body=("usage",))),),
    ),
    "body_limit": (1 << 20, 16 << 20),
    "path_prefixes": (("/team",),),
    "slo": (Slo(99.0), Slo(99.0, duration=Objective(1.0, 99.0))),
    "sampling": (0.5,),
    "default": ("v1",),
    "fails_over": (False,),
    "rollout": (RolloutPlan("v2", ()),),
    "load_balancer": (LoadBalancer("random"),),
    "picking": (Picking(), Picking(objectives=(("batch", -1),)), Picking(max_queue=9)),
    "rollout_state": (RolloutState("chat", "v2", "Progressing", 5, 0.0),),
}
VERSION: dict[str, tuple[Any, ...]] = {
    "name": ("v7",),
    "weight": (0, 5),
    "endpoints": ((), ("10.0.0.2:80",), ("other.ai.svc:80",)),
    "model_rewrite": ("llama-ft",),
    "match": (GAMMA, (HeaderMatch((("x-beta", b"2"),)),), ()),
    "gpu_pools": (("west",), ()),
    "mirror": (10,),
    "upstream": (
        Upstream(Tls(server_name="a.example")),
        Upstream(Tls("/ca", "/crt", "/key", verify=True)),
        Upstream(credentials=Credentials("/key")),
    ),
    "grpc_endpoints": (("10.0.0.1:81",), ("chat:81",), ("other.ai.svc:81",)),
    "load_balancer": (LoadBalancer("roundRobin"), LoadBalancer("consistentHash", "x-user"), LEAST_REQUEST),
    "inference_pool": ("llama",),
}
POOL: dict[str, tuple[Any, ...]] = {
    "name": ("east",),
    "gpu": (Gpu("NVIDIA-H100-80GB-HBM3", "h100", "hopper", "9.0", 81559),),
    "endpoints": ((), ("10.0.0.1:80",), ("10.0.0.1:80", "10.0.0.9:80")),
    "locality": ("us/a",),
    "cluster": ("us",),
    "metrics_type": ("vllm",),
    "metrics_url": ("http://10.0.0.1/metrics",),
    "node_selector": ((("zone", "west"),),),
    "namespace": ("elsewhere",),
    "allowed_namespaces": (("elsewhere",),),
    "upstream": (Upstream(path_rewrite=PathRewrite("/v1", "")),),
    "grpc_endpoints": (("10.0.0.1:81", "10.0.0.2:81"),),
    "load_balancer": (LoadBalancer("consistentHash", "x-user"),),
    "gpu_metrics_url": ("http://10.0.0.1:9400/metrics",),
}
replace = msgspec.structs.replace


def changed() -> dict[str, Snapshot]:
    """Views that are another in one field."""
    found: dict[str, Snapshot] = {}
    for name, values in POLICY.items():
        for i, value in enumerate(values):
            found[f"policy {name} {i}"] = Snapshot((replace(CHAT, **{name: value}), IRIS), (WEST,))
    for name, values in VERSION.items():
        for i, value in enumerate(values):
            versions = (CHAT.versions[0], replace(CHAT.versions[1], **{name: value}))
            found[f"version {name} {i}"] = Snapshot((replace(CHAT, versions=versions), IRIS), (WEST,))
    for name, values in POOL.items():
        for i, value in enumerate(values):
            found[f"pool {name} {i}"] = Snapshot((CHAT, IRIS), (replace(WEST, **{name: value}),))
    found["policy more"] = Snapshot((CHAT, IRIS, Policy("more", host="more", models=("more",))), (WEST,))
    found["policy fewer"] = Snapshot((CHAT,), (WEST,))
    found["policies turned"] = Snapshot((IRIS, CHAT), (WEST,))
    found["pool more"] = Snapshot((CHAT, IRIS), (WEST, GpuPool("north", A100, ("10.0.0.3:80",))))
    return found


CHANGED = changed()
OPTIONS = {
    "every": EVERY,
    "default": IstioOptions(),
    "watching": IstioOptions(proxies=("inbound",)),
    "rules": IstioOptions(rules=True),
}


def said(snapshot: Snapshot, options: IstioOptions) -> tuple[list[Doc], str]:
    """The manifests without what they say of themselves, and that."""
    found = documents(snapshot, options)
    notes = {document["metadata"]["annotations"].pop(ANNOTATION) for document in found}
    for document in found:
        for service in services(document):
            service.pop("initial_metadata", None)
    (note,) = notes
    return found, note


@cache
def said_at_first(options: IstioOptions) -> tuple[list[Doc], str]:
    return said(BASE, options)


def services(value: Any) -> list[Doc]:
    """Every gRPC service in a manifest."""
    if isinstance(value, dict):
        mine = [value["grpc_service"]] if "grpc_service" in value else []
        return mine + [each for inner in value.values() for each in services(inner)]
    return [each for inner in value for each in services(inner)] if isinstance(value, list) else []


def test_every_field_is_tried() -> None:
    for struct, tried in ((Policy, POLICY), (Version, VERSION), (GpuPool, POOL)):
        names = {field.name for field in msgspec.structs.fields(struct)}
        assert names == tried.keys()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("snapshot", CHANGED.values(), ids=CHANGED)
def test_manifests_change_where_their_origin_does(snapshot: Snapshot, options: IstioOptions) -> None:
    """Both ways: what is not told does not matter, and what is told does."""
    before, after = said_at_first(options), said(snapshot, options)
    assert (before[0] == after[0]) == (before[1] == after[1]), differences(before[1], snapshot)


@given(st.lists(st.sampled_from(sorted(CHANGED)), min_size=2, max_size=2))
@settings(max_examples=60, deadline=None)
def test_two_views_that_say_the_same_are_rendered_alike(names: list[str]) -> None:
    one, other = (said(CHANGED[name], EVERY) for name in names)
    assert (one[1] == other[1]) == (not differences(one[1], CHANGED[names[1]]))
    assert one[0] == other[0] or one[1] != other[1]


def test_a_rendering_of_the_same_policies_does_not_differ() -> None:
    assert differences(annotation(BASE, EVERY), BASE) == []
    assert differences(metadata(BASE, EVERY), BASE) == []


def test_differences_name_what_is_missing_and_what_is_surplus() -> None:
    other = Snapshot((replace(CHAT, versions=(CHAT.versions[0], Version("v3"))), IRIS), (WEST,))
    found = {one.part: one for one in differences(annotation(BASE, EVERY), other)}
    assert found["versions"] == Difference("versions", ("chat/v3",), ("chat/v2",))
    assert str(found["versions"]) == "versions (lacks chat/v3; still has chat/v2)"


def test_only_the_order_or_a_digest_differs() -> None:
    turned = differences(annotation(BASE, EVERY), Snapshot((IRIS, CHAT), (WEST,)))
    assert [str(one) for one in turned if one.part == "hosts"] == ["hosts"]
    long = replace(IRIS, models=tuple(f"model-{n}" for n in range(99)))
    found = differences(annotation(Snapshot((CHAT, long), (WEST,)), EVERY), BASE)
    assert [str(one) for one in found if one.part == "models"] == ["models"]


def part_of(text: str, name: str) -> str:
    return dict(piece.split("=", 1) for piece in text.split("; "))[name]


@pytest.mark.parametrize("model", ["x" * MAX_PART_LENGTH, "a, b", "é", "a;b", "a=b"])
def test_what_is_long_or_special_is_digested(model: str) -> None:
    text = annotation(Snapshot((replace(IRIS, models=(model,)),)), EVERY)
    assert part_of(text, "models").startswith("#") is (model != "a=b")
    assert text.isascii()
    assert text.count("; ") == text.count(";")


def test_streams_carry_no_weights_and_no_objectives() -> None:
    names = [piece.partition("=")[0] for piece in metadata(BASE, EVERY).split("; ")]
    assert "weights" not in names
    assert "objectives" not in names
    assert names[-1] == "selectors"
    assert list(parts(BASE)) == [*names[:-1], "weights", "selectors", "objectives"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (OPTIONS["default"], {"weights"}),
        (OPTIONS["rules"], {"weights", "objectives"}),
        (OPTIONS["every"], {"weights", "selectors", "objectives"}),
        (OPTIONS["watching"], {"selectors"}),
    ],
)
def test_only_what_matters_is_named(options: IstioOptions, named: set[str]) -> None:
    found = {piece.partition("=")[0] for piece in annotation(BASE, options).split("; ")}
    assert found & {"weights", "selectors", "objectives"} == named
    assert ("endpoints" in found) is options.routes
    assert {"models", "versions", "pools", "answers"} <= found


def test_parts_that_one_side_does_not_know_are_not_compared() -> None:
    assert differences("models=other", BASE)[0].part == "models"
    assert differences("future=1", BASE) == []
    assert differences("", BASE) == []


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (annotation(BASE, EVERY), True),
        (annotation(Snapshot((IRIS,)), EVERY), True),
        (annotation(Snapshot((replace(IRIS, name="else"),)), EVERY), False),
        ("hosts=#0123456789ab", True),
        ("models=chat", True),
    ],
)
def test_whose_rendering_it_may_be(text: str, may: bool) -> None:
    assert concerns(text, BASE) is may


def test_a_rendering_without_the_access_log_is_an_older_one() -> None:
    text = annotation(BASE, EVERY)
    assert "settings=access log" in text
    assert differences(text, BASE) == []
    older = text.replace("settings=access log", "settings=")
    assert differences(older, BASE) == [Difference("settings", ("access log",))]
    timed = annotation(BASE, IstioOptions(proxies=("inbound",)))
    assert "settings" not in timed, "there is none in model servers' sidecars"
