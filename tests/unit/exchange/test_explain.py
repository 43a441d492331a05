"""``explain``: every outcome, with the whole typed request and the reason in one sentence."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from extproc.exchange.explain import UNMATCHED, explain
from extproc.policy.gpu import Requirement, describe
from extproc.policy.picking import Picking
from extproc.policy.rollout_plan import Guard, RolloutPlan, RolloutState
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, Snapshot, Sticky, Version
from extproc.policy.unreadable_requests import NO_API
from extproc.rollout.steps import in_force
from tests.house.tree import ROOT

CHAT = "/v1/chat/completions"
TWO = (Version("v1", 90), Version("v2", 10))
SNAPSHOT = Snapshot(
    (
        Policy("drawn", models=("drawn",), versions=TWO),
        Policy(
            "chosen",
            models=("chosen", "chosen-*"),
            versions=(Version("v1"), Version("v2", match=(HeaderMatch((("x-beta", b"true"), ("x-team", b"a"))),))),
            sticky=Sticky(header="x-user-id"),
            allow_pin=True,
        ),
        Policy("cookie", models=("cookie",), versions=TWO, sticky=Sticky(cookie="user")),
        Policy("body", models=("body",), versions=TWO, sticky=Sticky(body=("user", "id"))),
        Policy("fallback", models=("fallback",), versions=TWO, sticky=Sticky(header="x-user-id"), default="v2"),
        Policy("single", models=("single",), versions=(Version("v1"),)),
        Policy("plain", models=("plain",)),
        Policy("new", models=("old",), versions=(Version("v1", model_rewrite="new-name"),)),
        Policy("pooled", models=("pooled",), versions=(Version("v1"),), gpu=Requirement("a100", 0)),
        Policy("starved", models=("starved",), gpu=Requirement("h100", 0)),
        Policy("small", models=("small",), body_limit=64),
    ),
    (GpuPool("west", describe("NVIDIA-A100-SXM4-80GB"), ("10.0.0.1:8000",)),),
)
ALL = Snapshot((Policy("all", models=("*",), versions=(Version("v1"),)),))
BETA = "x-beta: true and x-team: a"
PUT = "{} because that is where the weights put "
GRPC = [("content-type", "application/grpc")]
OIP = "/inference.GRPCInferenceService/"
KEYS = (
    *("api", "operation", "model", "stream", "max_tokens", "prompt_bytes", "adapter", "version", "cohort"),
    *("gpu_pool", "endpoints", "load_balancer", "headers", "removed", "policy", "model_rewrite", "reason", "reject"),
)


def of(
    path: str, body: Any = b"", *fields: tuple[str, str], method: str = "POST", snapshot: Snapshot = SNAPSHOT
) -> Mapping[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = explain(snapshot, method, path, fields, raw, b"entropy!")
    assert tuple(found) == KEYS
    assert found["reason"]
    assert "\n" not in found["reason"]
    json.dumps(found)
    return found


def chat(model: str, *fields: tuple[str, str], **more: Any) -> Mapping[str, Any]:
    return of(CHAT, {"model": model, "messages": ["hi"], **more}, *fields)


def owned(name: str, model: str | None = None) -> str:
    return f"policy {name} owns {model or name!r} by its pattern {name!r}; "


def test_the_whole_typed_request_is_shown() -> None:
    found = chat("single", stream=True, max_tokens=7)
    assert [found[key] for key in KEYS[:7]] == ["openai", "chat.completions", "single", True, 7, len('["hi"]'), None]
    body = {"inputs": "hi", "parameters": {"adapter_id": "lora"}}
    found = of("/generate_stream", body, snapshot=ALL)
    assert [found[key] for key in KEYS[:7]] == ["generate", "generate_stream", None, True, None, 4, "lora"]
    found = of("/mcp", {"method": "tools/call", "params": {"name": "single"}})
    assert (found["operation"], found["model"], found["policy"]) == ("tools/call", "single", "single")


@pytest.mark.parametrize(
    ("model", "fields", "version", "cohort", "why"),
    [
        ("chosen", [("X-Beta", "true"), ("x-team", "a")], "v2", "match", "v2 because the request has " + BETA),
        (
            "chosen",
            [("x-model-version", "v2")],
            "v2",
            "pin",
            "v2 because the client pins it and the policy allows that",
        ),
        ("chosen", [("x-user-id", "ü 1")], None, "sticky", PUT + "x-user-id: %C3%BC%201"),
        ("cookie", [("cookie", "user=ada")], None, "sticky", PUT + "the cookie user=ada"),
        ("body", [], None, "sticky", PUT + "the key at /user/id"),
        ("chosen", [], None, "weight", "{} was drawn by weight; the request has no sticky key"),
        ("drawn", [], None, "weight", "{} was drawn by weight"),
        ("fallback", [], "v2", "default", "v2 is its default; the request has no sticky key"),
        ("single", [], "v1", "default", "v1 is its only version"),
        ("plain", [], None, "default", "it has no versions"),
        ("pooled", [], "v1", "default", "v1 is its only version, on GPU pool west"),
    ],
)
def test_how_the_version_came_about(
    model: str, fields: list[tuple[str, str]], version: str | None, cohort: str, why: str
) -> None:
    found = chat(model, *fields, user={"id": "ada"})
    assert (found["policy"], found["cohort"], found["reject"]) == (model, cohort, None)
    assert found["reason"] == owned(model) + why.format(found["version"])
    assert version is None or found["version"] == version
    assert (found["version"] is None) == (model == "plain")
    assert found["headers"]["x-model-name"] == model
    assert found["gpu_pool"] == ("west" if model == "pooled" else None)


@pytest.mark.parametrize(
    ("here", "why"),
    [
        ("us-east1/b", ", on GPU pool east, the nearest to us-east1/b"),
        ("eu-north1", "; its pools are equally far from eu-north1"),
        ("", ""),
    ],
)
def test_which_pool_is_nearest(here: str, why: str) -> None:
    policies = (Policy("p", models=("m",), versions=(Version("v1"),), gpu=Requirement("a100", 0)),)
    places = ("west", "us-west1"), ("east", "us-east1")
    pools = tuple(GpuPool(name, describe("NVIDIA-A100-SXM4-80GB"), (f"{name}:80",), place) for name, place in places)
    found = of(CHAT, {"model": "m"}, snapshot=Snapshot(policies, pools, locality=here))
    assert found["reason"].endswith(why or f", on GPU pool {found['gpu_pool']}")


def test_a_pattern_is_named_and_so_is_a_version_that_only_the_request_knows() -> None:
    assert chat("chosen-7")["reason"].startswith("policy chosen owns 'chosen-7' by its pattern 'chosen-*'; ")
    found = of("/v2/models/plain/versions/3/infer", {"inputs": []})
    assert (found["version"], found["reason"]) == ("3", owned("plain") + "it has no versions, the request names 3")


@pytest.mark.parametrize(
    ("path", "body", "fields", "reason"),
    [
        ("/metrics", b"", [], "no_api"),
        (CHAT, b"", [], "no_body"),
        (CHAT, b"hello", [], "bad_json"),
        (CHAT, b"{}", [], "no_model"),
        (CHAT, {"model": 7}, [], "bad_model"),
        (CHAT, {"model": "stranger"}, [], "no_policy"),
        (CHAT, b"\x1f\x8b broken", [("content-encoding", "gzip")], "content_encoding"),
        (CHAT, b"{}", [("content-encoding", "compress")], "content_encoding"),
        ("/v1/audio/transcriptions", b"{}", [("content-type", "application/json")], "content_type"),
        ("/v1/audio/transcriptions", b"x", [("content-type", "multipart/form-data; boundary=b")], "bad_multipart"),
        (OIP + "ModelInfer", b"\0\0\0\0\x01\x0f", GRPC, "bad_grpc"),
        (OIP + "ModelStreamInfer", b"\0\0\0\0\x09\x0a", GRPC, "truncated"),
        ("/invocations", b"1,2", [], "no_model"),
    ],
)
def test_what_passes_on_unrouted(path: str, body: Any, fields: list[tuple[str, str]], reason: str) -> None:
    found = of(path, body, ("x-model-name", "mine"), *fields)
    where = "; it passes on unrouted, which is to the servers of the policy drawn"
    assert found["reason"] == UNMATCHED[reason] + where
    assert (found["headers"], found["removed"]) == ({}, ["x-model-name"])
    assert [found[key] for key in ("policy", "version", "cohort", "gpu_pool", "model_rewrite", "reject")] == [None] * 6
    assert (found["api"] is None) == (reason == "no_api")
    assert found["model"] == ("stranger" if reason == "no_policy" else None)
    assert [found[key] for key in ("max_tokens", "prompt_bytes", "adapter")] == [None, 0, None]


def test_every_reason_has_its_sentence_and_no_sentence_is_of_nothing() -> None:
    used: set[object] = {NO_API}
    for path in (ROOT / "extproc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
                *("Unreadable", "Unmatched"),
                "_decide_by_headers",
            ):
                inside = (inner for argument in node.args for inner in ast.walk(argument))
                used |= {inner.value for inner in inside if isinstance(inner, ast.Constant)}
    assert used == set(UNMATCHED)


@pytest.mark.parametrize(
    ("body", "status", "code", "model"),
    [
        (b'{"model":"single","model":"other"}', 400, "duplicate_model", None),
        ({"model": "small", "messages": ["x" * 64]}, 413, "request_too_large", "small"),
        (b'{"model":"' + b"x" * SNAPSHOT.body_limit, 413, "request_too_large", None),
        ({"model": "starved", "messages": ["hi"], "stream": True}, 503, "no_gpu_available", "starved"),
    ],
)
def test_what_is_refused(body: Any, status: int, code: str, model: str | None) -> None:
    found = of(CHAT, body)
    assert (found["reject"]["status"], found["reject"]["code"]) == (status, code)
    assert found["reason"] == found["reject"]["message"]
    assert (found["model"], found["stream"]) == (model, code == "no_gpu_available")
    assert found["headers"] == {}


def test_a_version_that_has_no_server_is_told() -> None:
    """On the pool that the policy asks for, only v1 has one."""
    versions = Version("v1", 1, ("10.0.0.1:8000",)), Version("v2", 1 << 40, ("10.0.0.2:8000",))
    moved = Policy("moved", models=("moved",), versions=versions, sticky=Sticky("x-user-id"), gpu=Requirement("a100"))
    snapshot = Snapshot((moved,), SNAPSHOT.pools)
    found = of(CHAT, {"model": "moved", "messages": []}, ("x-user-id", "ann"), snapshot=snapshot)
    assert (found["version"], found["cohort"], found["gpu_pool"]) == ("v1", "failover", "west")
    why = "v1 answers, since the version that it belongs to has no server at present, on GPU pool west"
    assert found["reason"] == owned("moved") + why


def test_a_rewrite_is_told_wherever_the_model_stands() -> None:
    found = chat("old")
    assert (found["model"], found["model_rewrite"]) == ("old", "new-name")
    assert found["headers"]["x-model-name"] == "old"
    assert int(found["headers"]["content-length"]) == len(json.dumps({"model": "new-name", "messages": ["hi"]}))
    found = of("/v2/models/old/infer?x=1", {"inputs": []})
    assert (found["model_rewrite"], found["headers"][":path"]) == ("new-name", "/v2/models/new-name/infer?x=1")
    found = of("/v2/models/x/infer", {"inputs": []}, ("seldon-model", "old"))
    assert (found["model_rewrite"], found["headers"]["seldon-model"]) == ("new-name", "new-name")
    assert chat("single")["model_rewrite"] is None
    assert of("/v2/models/single/infer", {})["model_rewrite"] is None


def test_headers_that_a_client_made_up_are_removed() -> None:
    found = chat("plain", ("x-gpu-pool", "mine"), ("x-model-name", "mine"), ("x-model-version", "v9"))
    assert found["removed"] == ["x-model-version", "x-gpu-pool"]
    assert found["headers"] == {"x-model-name": "plain"}


def test_a_model_that_nobody_names_belongs_to_who_owns_all() -> None:
    found = of("/invocations", b"1,2", snapshot=ALL)
    assert (found["policy"], found["version"], found["model"]) == ("all", "v1", None)
    assert found["reason"] == "policy all owns requests that name no model by its pattern '*'; v1 is its only version"
    assert found["headers"] == {"x-model-version": "v1"}
    renamed = Snapshot((Policy("all", models=("*",), versions=(Version("v1", model_rewrite="new"),)),))
    assert of("/invocations", b"1,2", snapshot=renamed)["model_rewrite"] is None, "there is no name to replace"


def test_a_length_that_is_not_the_bodys_does_not_keep_it_waiting() -> None:
    assert chat("single", ("content-length", "9999"))["policy"] == "single"


def test_a_compressed_body_is_read() -> None:
    body = gzip.compress(json.dumps({"model": "single", "messages": ["hi"]}).encode())
    assert of(CHAT, body, ("content-encoding", "gzip"))["policy"] == "single"


@pytest.mark.parametrize(
    ("percent", "version", "said"),
    [
        (None, "v1", "the rollout to v2 has not begun"),
        (100, "v2", "the rollout to v2 is Progressing at 100 %"),
    ],
)
def test_a_rollout_says_the_weights(percent: int | None, version: str, said: str) -> None:
    plan = RolloutPlan("v2", (Guard(metric="errors", maximum=0.01),))
    state = None if percent is None else RolloutState("chat", "v2", "Progressing", percent, 7.0)
    policy = in_force(Policy("chat", versions=(Version("v1"), Version("v2", 0)), rollout=plan), state)
    found = explain(Snapshot((policy,)), "POST", "/v1/chat/completions", [], b'{"model": "x"}')
    assert found["version"] == version
    assert found["reason"].endswith(f"{version} was drawn by weight; {said}")


@pytest.mark.parametrize(
    ("model", "pin", "why"),
    [
        ("drawn", "v2", "; x-model-version: v2 is ignored: allowPin is false"),
        ("chosen", "v9", "; x-model-version: v9 is ignored: no version has this name"),
        ("chosen", "v2", "v2 because the client pins it and the policy allows that"),
        ("plain", "v1", "it has no versions"),
    ],
)
def test_a_pin_that_does_not_count_is_told(model: str, pin: str, why: str) -> None:
    reason = of(CHAT, {"model": model}, ("x-model-version", pin))["reason"]
    assert why in reason
    assert ("is ignored" in reason) is ("is ignored" in why)


def test_the_score_of_every_endpoint() -> None:
    addresses = ("10.0.0.1:80", "10.0.0.2:80")
    versions = (Version("v1", 1, addresses),)
    picked = Snapshot((Policy("chat", versions=versions, picking=Picking("least-loaded")),))
    body = b'{"model": "x"}'
    found = explain(picked, "POST", CHAT, [], body, b"entropy!", endpoints={})
    why = "0 requests (it has told nothing)"
    assert found["scores"] == [{"endpoint": address, "score": 1.0, "why": why} for address in addresses]
    assert set(found["headers"]["x-gateway-destination-endpoint"].split(",")) == set(addresses)
    assert "scores" not in explain(picked, "POST", CHAT, [], body)
    named = Snapshot((Policy("chat", versions=(Version("v1", 1, ("a:80", "b:80")),), picking=Picking()),))
    assert explain(named, "POST", CHAT, [], body, endpoints={})["scores"] == []
    assert explain(Snapshot((Policy("chat"),)), "POST", CHAT, [], body, endpoints={})["scores"] == []


def test_a_pick_finds_nothing_again_that_a_server_keeps() -> None:
    versions = (Version("v1", 1, ("10.0.0.1:80", "10.0.0.2:80")),)
    picked = Snapshot((Policy("chat", versions=versions, picking=Picking()),))
    reason = explain(picked, "POST", "/v1/responses", [], b'{"model": "x", "input": "Why?"}')["reason"]
    assert "what a server keeps of it may not be found by its id" in reason
