"""Envoy's routes: whose models, to which clusters, by what weights; what they remove, what clients are told."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from extproc.headers import safe_value
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, RetryBudget, Snapshot, Version
from extproc.policy.target import Target
from extproc.render.envoy.bootstrap import bootstrap
from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.response_headers import response_headers
from extproc.render.envoy.rewriting import literal
from extproc.render.envoy.routes import (
    BODY_MARGIN,
    body_buffer,
    model_only_target,
    route_configuration,
    unserved_headers,
    weighted_targets,
)
from tests.unit.render import snapshots

ARTICLE = Snapshot((Policy("article", host="model.svc", timeout=60.0, retry_budget=RetryBudget(0.25, 10)),))
CANARY = Policy(
    "canary",
    host="apex.svc",
    models=("llama", "llama-*", "ünï ✓"),
    versions=(Version("v1", 90, ("10.0.0.1:1",)), Version("v2", 10, ("10.0.0.2:1", "10.0.0.3:1")), Version("v3", 0)),
)
GLOBS = Snapshot(
    (Policy("odd", host="h", models=("a.b^[c]\\d$(e){f}|g+?", "*x*", "x-*-y")), CANARY, Policy("rest", host="r"))
)
MIRRORED = Snapshot(
    (
        Policy(
            "p",
            host="h",
            versions=(Version("v1", 9), Version("v2", 1), Version("m", 0, ("a:1", "b:1"), mirror=33)),
            default="v2",
            path_prefixes=("/team-a",),
        ),
    )
)


def routes(snapshot: Snapshot, body: Literal["streamed", "buffered"] = "streamed") -> list[dict[str, Any]]:
    """All but those for gRPC: each has its twin in front."""
    found: list[dict[str, Any]] = route_configuration(snapshot, EnvoyOptions(body=body))["virtual_hosts"][0]["routes"]
    return [route for route in found if "grpc" not in route["match"]]


def test_weights_follow_versions_and_endpoints() -> None:
    last = routes(Snapshot((CANARY,)))[-1]
    assert last["match"] == {"prefix": "/"}
    weighted = last["route"]["weighted_clusters"]["clusters"]
    assert weighted == [{"name": "canary/v1", "weight": 180}, {"name": "canary/v2", "weight": 20}]


def test_weights_of_any_size_fit_into_a_route() -> None:
    versions = (Version("a", 3 << 40, ("a:1",)), Version("b", 1 << 40, ("b:1",)), Version("c", 1, ("c:1",)))
    last = routes(Snapshot((Policy("p", versions=versions),)))[-1]["route"]["weighted_clusters"]["clusters"]
    a, b, c = (cluster["weight"] for cluster in last)
    assert a + b + c < 1 << 32
    assert a / b == pytest.approx(3)
    assert c == 1


def test_pools_share_a_version_by_their_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot((Policy("p", versions=(Version("v1", 3),)),))
    targets = (Target("p", "v1", "big", ("a:1", "b:1")), Target("p", "v1", "small", ("c:1",)))
    monkeypatch.setitem(snapshot.__dict__, "targets", {("p", "v1"): targets})
    assert [r["route"].get("cluster") for r in routes(snapshot)] == ["p/v1/big", "p/v1/small", None, None]
    weights = [c["weight"] for c in routes(snapshot)[-1]["route"]["weighted_clusters"]["clusters"]]
    assert weights == [6, 3]


@pytest.mark.parametrize(
    ("path", "grpc"),
    [
        ("/inference.GRPCInferenceService/ModelInfer", True),
        ("/base/tensorflow.serving.PredictionService/Predict", True),
        ("/v1/chat/completions", False),
        ("/v1/embeddings", False),
        ("/v2/models/m/infer", False),
        ("/v1beta/models/gemini-1.5:generateContent", False),
    ],
)
def test_only_paths_of_services_are_calls_of_grpc(path: str, grpc: bool) -> None:
    route = route_configuration(MIRRORED, EnvoyOptions())["virtual_hosts"][0]["routes"][0]
    regex = route["match"]["headers"][-1]["string_match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(regex, path)) is grpc


def test_every_route_has_its_twin_for_grpc_in_front() -> None:
    every = route_configuration(MIRRORED, EnvoyOptions(body="streamed"))["virtual_hosts"][0]["routes"]
    assert len(every) % 2 == 0
    names = {cluster["name"] for cluster in bootstrap(MIRRORED, EnvoyOptions())["static_resources"]["clusters"]}
    for grpc, other in zip(every[::2], every[1::2], strict=True):
        assert grpc["match"].pop("grpc") == {}
        path = grpc["match"]["headers"].pop()
        assert path["name"] == ":path"
        assert {"headers": []} | grpc["match"] == {"headers": []} | other["match"]
        assert grpc["route"].pop("cluster") == other["route"].pop("cluster") + "#grpc"
        (copy,), (plain,) = (r["route"].pop("request_mirror_policies") for r in (grpc, other))
        assert copy.pop("cluster") == plain.pop("cluster") + "#grpc"
        assert {"p/m", "p/m#grpc"} < names
        assert (copy, grpc["route"]) == (plain, other["route"])


def test_retries_are_only_where_no_body_can_be_sent_twice() -> None:
    every = route_configuration(ARTICLE, EnvoyOptions(body="buffered"))["virtual_hosts"][0]["routes"]
    assert [("retry_on" in r["route"]["retry_policy"], "grpc" in r["match"]) for r in every] == [
        (False, True),
        (True, False),
    ] * 2
    assert [r["route"]["retry_policy"] for r in routes(ARTICLE)] == [{"per_try_timeout": "60s"}] * 2
    assert [r["route"].get("retry_policy") for r in routes(Snapshot((CANARY,)))] == [None] * len(
        routes(Snapshot((CANARY,)))
    )


def test_the_default_is_where_the_fallback_goes() -> None:
    assert [r["route"]["cluster"] for r in routes(MIRRORED)] == ["p/v1", "p/v2", "p/v2", "p/v2"]


def test_a_mirrors_share_is_spread_over_its_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot((Policy("p", versions=(Version("v1", 1, ("x:1",)), Version("m", 0, mirror=30))),))
    targets = {
        ("p", "v1"): (Target("p", "v1", "", ("x:1",)),),
        ("p", "m"): (Target("p", "m", "big", ("a:1", "b:1")), Target("p", "m", "small", ("c:1",))),
    }
    monkeypatch.setitem(snapshot.__dict__, "targets", targets)
    copies = routes(snapshot)[-1]["route"]["request_mirror_policies"]
    shares = {c["cluster"]: c["runtime_fraction"]["default_value"]["numerator"] for c in copies}
    assert shares == {"p/m/big": 200_000, "p/m/small": 100_000}


def test_a_policy_that_nothing_can_serve_is_503() -> None:
    pool = GpuPool("west", Gpu(architecture="a100", memory=40960), ("a:1",))
    picky = Policy("p", models=("m",), versions=(Version("v1"),), gpu=Requirement(architecture="h100"))
    snapshot = Snapshot((picky,), (pool,))
    assert [r["direct_response"] for r in routes(snapshot)] == [{"status": 503}] * 2
    assert len(bootstrap(snapshot, EnvoyOptions())["static_resources"]["clusters"]) == 1


TARGETED = ["x-model-version", "x-gpu-pool", "x-gpu-architecture"]


def conditions(route: dict[str, Any]) -> dict[str, str]:
    """Headers with the value or regular expression that they must have."""
    found = {}
    for one in route["match"].get("headers", []):
        text = one["string_match"]
        found[one["name"]] = text["exact"] if "exact" in text else text["safe_regex"]["regex"]
    return found


def owner(route: dict[str, Any]) -> str:
    """The policy whose name the processor's metadata must have; empty: none."""
    wanted = route["match"].get("dynamic_metadata")
    if not wanted:
        return ""
    assert (wanted[0]["filter"], wanted[0]["path"]) == ("aimesh", [{"key": "policy"}])
    return str(wanted[0]["value"]["string_match"]["exact"])


def test_routes_of_a_policy_are_in_order() -> None:
    found = routes(snapshots.CANARY)
    assert [conditions(route) for route in found] == [{"x-model-version": "v1"}, {"x-model-version": "v2"}, {}, {}]
    assert [bool(owner(route)) for route in found] == [True, True, True, False]
    assert [route.get("request_headers_to_remove", []) for route in found] == [
        ["x-gpu-pool"],
        ["x-gpu-pool"],
        TARGETED,
        TARGETED,
    ]


def test_routes_to_pools_remove_nothing() -> None:
    found = routes(snapshots.POOLED)
    assert conditions(found[0]) == {"x-model-version": "v1", "x-gpu-pool": "west"}
    assert ["request_headers_to_remove" in route for route in found] == [False, False, True, True]


def test_a_policy_without_versions_and_pools_keeps_the_version_that_a_request_names() -> None:
    by_model, last = routes(snapshots.PLAIN)
    assert by_model["match"]["dynamic_metadata"] == [
        {"filter": "aimesh", "path": [{"key": "policy"}], "value": {"string_match": {"exact": "plain"}}}
    ]
    assert by_model["request_headers_to_remove"] == ["x-gpu-pool"]
    assert last["request_headers_to_remove"] == TARGETED


def test_a_mesh_behind_gets_all_headers_but_an_unchecked_pin() -> None:
    (host,) = route_configuration(snapshots.CANARY, EnvoyOptions(), keep_target_headers=True)["virtual_hosts"]
    removed = [route.get("request_headers_to_remove") for route in host["routes"][1::2]]
    assert removed == [["x-gpu-pool"], ["x-gpu-pool"], None, TARGETED]


def test_without_policies_nothing_is_served() -> None:
    assert routes(Snapshot()) == [{"match": {"prefix": "/"}, "direct_response": {"status": 503}}]


def test_names_like_numbers_and_from_other_scripts_are_texts() -> None:
    odd = Policy("y", host="h", models=("2e5", "模型"), versions=(Version("n"), Version("3e1"), Version("é")))
    found = [conditions(route) for route in routes(Snapshot((odd,)))]
    assert [one.get("x-model-version") for one in found[:-1]] == ["n", "3e1", "%C3%A9", None]


def test_the_processors_word_says_whose_requests_they_are() -> None:
    found = routes(Snapshot((Policy("a", host="h", models=("l*", "b")), Policy("b", host="h", models=("la*", "lama")))))
    assert [owner(route) for route in found] == ["a", "b", ""]


@given(st.text(st.characters(codec="utf-8"), max_size=12), st.text(max_size=12))
def test_a_literal_matches_itself_alone(text: str, other: str) -> None:
    value = safe_value(text)
    pattern = re2.compile(literal(value))
    assert pattern.fullmatch(value)
    assert (pattern.fullmatch(safe_value(other)) is not None) is (safe_value(other) == value)


def test_a_literal_escapes_everything_special() -> None:
    special = "".join(map(chr, range(0x21, 0x7F)))
    assert re2.compile(literal(special)).fullmatch(special)
    assert not re2.compile(literal("a.b")).fullmatch("axb")


@pytest.mark.parametrize(
    ("target", "removed"),
    [
        (None, TARGETED),
        (Target("p", "v1", "", ()), ["x-gpu-pool"]),
        (Target("p", "", "", ()), ["x-gpu-pool"]),
        (Target("p", "v1", "west", ()), []),
    ],
)
def test_headers_of_what_does_not_serve(target: Target | None, removed: list[str]) -> None:
    assert unserved_headers(target) == removed


def test_the_target_of_a_model_alone() -> None:
    (plain,) = snapshots.PLAIN.policies
    assert model_only_target(snapshots.PLAIN, plain) == Target("plain", "", "", ("plain:8080",))
    for snapshot in (snapshots.CANARY, snapshots.POOLED, snapshots.UNSERVED):
        assert model_only_target(snapshot, snapshot.policies[0]) is None


def weights(snapshot: Snapshot, **limits: int) -> dict[str, int]:
    found = weighted_targets(snapshot, snapshot.policies[0], **limits)
    return {f"{target.version}/{target.pool}": weight for target, weight in found}


def test_weights() -> None:
    assert weights(snapshots.CANARY) == {"v1/": 9, "v2/": 1}
    assert weights(snapshots.POOLED) == {"v1/west": 2, "v1/east": 1}
    assert weights(snapshots.MIRRORED) == {"v1/": 1}
    assert weights(snapshots.UNSERVED) == {}
    assert weights(snapshots.CANARY, max_total=5) == {"v1/": 2, "v2/": 1}


def test_a_default_gets_everything_and_weight_zero_nothing() -> None:
    versions = (Version("v1", 9, ("a:1",)), Version("v2", 0, ("b:1",)))
    assert weights(Snapshot((snapshots.policy(versions=versions),))) == {"v1/": 9}
    assert weights(Snapshot((snapshots.policy(versions=versions, default="v2"),))) == {"v2/": 1}


@pytest.mark.parametrize(
    ("timeout", "idle", "retry"), [(None, "3600s", None), (0.5, "61.5s", "0.5s"), (100.0, "360s", "100s")]
)
def test_a_timeout_is_per_try(timeout: float | None, idle: str, retry: str | None) -> None:
    route = routes(Snapshot((snapshots.policy(timeout=timeout),)))[0]["route"]
    assert (route["timeout"], route["idle_timeout"]) == ("0s", idle)
    assert route.get("retry_policy", {}).get("per_try_timeout") == retry


@pytest.mark.parametrize(("body", "retries"), [("buffered", 2), ("native", 2), ("streamed", None)])
def test_what_is_buffered_is_retried(body: Literal["streamed", "buffered"], retries: int | None) -> None:
    assert routes(snapshots.PLAIN, body)[0]["route"].get("retry_policy", {}).get("num_retries") == retries


@pytest.mark.parametrize(
    ("body", "mode"), [("buffered", "STREAMED"), ("native", "FULL_DUPLEX_STREAMED"), ("streamed", None)]
)
def test_bodies_of_grpc_calls_are_streamed(body: Literal["streamed", "buffered"], mode: str | None) -> None:
    (host,) = route_configuration(snapshots.PLAIN, EnvoyOptions(body=body))["virtual_hosts"]
    for grpc, other in zip(host["routes"][::2], host["routes"][1::2], strict=True):
        assert "typed_per_filter_config" not in other
        override = grpc.get("typed_per_filter_config", {}).get("aimesh.route", {}).get("overrides", {})
        assert override.get("processing_mode", {}).get("request_body_mode") == mode


def test_the_body_limit_leaves_room_for_our_own_413() -> None:
    limited = Snapshot((snapshots.policy(body_limit=1 << 20), snapshots.policy(models=("b",), body_limit=1 << 10)))
    assert body_buffer(limited, "streamed") == (1 << 20) + BODY_MARGIN
    assert body_buffer(limited, "buffered") > body_buffer(limited, "streamed")
    (host,) = route_configuration(limited, EnvoyOptions(body="streamed"))["virtual_hosts"]
    assert host["request_body_buffer_limit"] == body_buffer(limited, "streamed")


def test_every_route_has_the_headers_for_clients() -> None:
    assert all(response_headers().items() <= route.items() for route in routes(snapshots.CANARY))
