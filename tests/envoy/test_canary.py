"""A canary on the real Envoy: who gets which version, that it stays so, and what the access log says of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from extproc import apis
from extproc.bodies.request import InferenceRequest, Operation
from extproc.headers import Headers
from extproc.policy.decision import decide
from extproc.policy.snapshot import HeaderMatch, Policy, Snapshot, Sticky, Version

from .conftest import Gateway, ModelServer, Processor, Response

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]


def lines(envoy: Gateway, count: int) -> list[dict[str, Any]]:
    """The first ``count`` lines of the access log."""
    envoy.logged(count - 1)
    return [json.loads(line) for line in envoy.log.read_text().splitlines()[:count]]


def test_the_access_log_has_no_key_of_a_query(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),)),))
    envoy = gateway(snapshot, processor(snapshot).address)
    path = "/v1beta/models/m:generateContent"
    assert envoy.post({"contents": []}, f"{path}?key=a-secret").status == 200
    assert envoy.logged()["path"] == path
    assert "a-secret" not in envoy.log.read_text()


def test_a_key_gets_the_same_version_through_envoy_as_by_the_rule(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    """By header, cookie and body: three policies on one listener, each with models and versions of its own."""
    one, two = servers("v1", "v2")
    places = {"header": Sticky(header="x-user-id"), "cookie": Sticky(cookie="session"), "body": Sticky(body=("user",))}
    versions = (Version("v1", 70, (one.address,)), Version("v2", 30, (two.address,)))
    snapshot = Snapshot(tuple(Policy(f"by-{p}", models=(p,), versions=versions, sticky=s) for p, s in places.items()))
    envoy = gateway(snapshot, processor(snapshot).address)
    keys = [f"user-{n}" for n in range(200)]

    def ask(place: str, key: str) -> Response:
        if place == "body":
            return envoy.post({"model": place, "messages": [], "user": key})
        return envoy.ask(place, **({"x_user_id": key} if place == "header" else {"cookie": f"a=b; session={key}"}))

    wanted = []
    for place in places:
        for key in keys:
            decision = decide(
                InferenceRequest("openai", "chat.completions", place),
                Headers.of([("x-user-id", key), ("cookie", f"session={key}")]),
                snapshot,
                b"",
                key,
            )
            answer = ask(place, key)
            assert answer.text == answer.headers["x-model-version"] == decision.version
            wanted.append((f"by-{place}", decision.version, "sticky", f"by-{place}/{decision.version}"))
    assert {policy: version for policy, version, *_ in wanted}.keys() == {"by-header", "by-cookie", "by-body"}
    assert 120 < Counter(version for _, version, *_ in wanted)["v2"] < 240  # 180 are expected
    logged = lines(envoy, len(wanted))
    assert [(line["policy"], line["version"], line["cohort"], line["cluster"]) for line in logged] == wanted


CHOICES = [
    # Policy, headers, the version and why.
    ("open", {}, "v1", "default"),
    ("open", {"x_user_id": "ann"}, "v1", "sticky"),
    ("open", {"x_beta": "true"}, "v2", "match"),
    ("open", {"x_beta": "TRUE", "x_user_id": "ann"}, "v1", "sticky"),
    ("open", {"x_tier": "gold", "x_region": "eu"}, "v3", "match"),
    ("open", {"x_tier": "gold"}, "v1", "default"),
    ("open", {"x_model_version": "v3"}, "v3", "pin"),
    ("open", {"x_model_version": "v9"}, "v1", "default"),
    ("open", {"x_model_version": "v3", "x_beta": "true"}, "v2", "match"),
    ("strict", {"x_model_version": "v2"}, "v1", "weight"),
    ("strict", {"x_beta": "true"}, "v2", "match"),
    ("lone", {"x_model_version": "v2"}, "v1", "default"),
]


def test_why_a_version_was_chosen(servers: Servers, processor: Process, gateway: Start) -> None:
    one, two, three, alone = servers("open v1", "open v2", "open v3", "lone v1")
    beta = (HeaderMatch((("x-beta", b"true"),)),)
    gold = (HeaderMatch((("x-region", b"eu"), ("x-tier", b"gold"))),)
    versions = (
        Version("v1", 1, (one.address,)),
        Version("v2", 0, (two.address,), match=beta),
        Version("v3", 0, (three.address,), match=gold),
    )
    sticky = Sticky(header="x-user-id")
    snapshot = Snapshot(
        (
            Policy("open", models=("open",), versions=versions, sticky=sticky, allow_pin=True, default="v1"),
            Policy("strict", models=("strict",), versions=versions[:2]),
            Policy("lone", models=("lone",), versions=(Version("v1", 1, (alone.address,)),)),
        )
    )
    envoy = gateway(snapshot, processor(snapshot).address)
    for policy, headers, version, _ in CHOICES:
        answer = envoy.ask(policy, **headers)
        assert answer.headers["x-model-version"] == version, (policy, headers)
        assert answer.text == (f"open {version}" if policy != "lone" else "lone v1")
    logged = [(line["policy"], line["version"], line["cohort"]) for line in lines(envoy, len(CHOICES))]
    assert logged == [(policy, version, cohort) for policy, _, version, cohort in CHOICES]


def test_without_a_processor_everything_goes_to_the_default(servers: Servers, gateway: Start) -> None:
    one, two = servers("v1", "v2")
    versions = (Version("v1", 99, (one.address,)), Version("v2", 1, (two.address,)))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions, default="v2"),))
    envoy = gateway(snapshot, "127.0.0.1:1")
    assert {envoy.ask("m").text for _ in range(20)} == {"v2"}


def test_a_pin_that_no_processor_has_seen_goes_no_further(servers: Servers, gateway: Start) -> None:
    one, two = servers("v1", "v2")
    versions = (Version("v1", 99, (one.address,)), Version("v2", 1, (two.address,)))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions, default="v2", allow_pin=True),))
    envoy = gateway(snapshot, "127.0.0.1:1")
    answer = envoy.ask("m", x_model_version="v1")
    assert (answer.text, answer.headers.get("x-model-version")) == ("v2", None)
    assert "x-model-version" not in two.seen[-1].headers


def test_requests_of_no_api_go_to_the_default(servers: Servers, processor: Process, gateway: Start) -> None:
    one, two = servers("v1", "v2")
    versions = (Version("v1", 99, (one.address,)), Version("v2", 1, (two.address,)))
    snapshot = Snapshot((Policy("p", versions=versions, default="v2"),))
    envoy = gateway(snapshot, processor(snapshot).address)
    assert {envoy.post({}, "/metrics").text for _ in range(10)} == {"v2"}


@pytest.fixture
def whole(servers: Servers) -> tuple[Snapshot, list[ModelServer]]:
    """A policy that owns everything, one that owns llama."""
    one, two, llama = servers("v1", "v2", "llama")
    versions = (Version("v1", 1, (one.address,)), Version("v2", 1, (two.address,)))
    rest = Policy("rest", versions=versions, sticky=Sticky(header="x-user-id"), allow_pin=True, default="v1")
    named = Policy("named", models=("llama",), versions=(Version("v2", 1, (llama.address,)),))
    return Snapshot((rest, named)), [one, two, llama]


def test_a_request_without_a_model_follows_its_version_alone(
    whole: tuple[Snapshot, list[ModelServer]], processor: Process, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of servers of one model, whose API has no name for it."""
    classify = apis.classify
    stub = Operation("stub", "generate", "")
    monkeypatch.setattr(apis, "classify", lambda *a: stub if a[1] == "/stub" else classify(*a))
    snapshot, servers = whole
    envoy = gateway(snapshot, processor(snapshot).address)
    for n in range(40):
        answer = envoy.post({"inputs": "Hello"}, "/stub", x_user_id=f"user-{n}")
        shares = snapshot.by_name["rest"].version_hash.choose(f"user-{n}".encode())
        assert shares is not None
        assert answer.text == answer.headers["x-model-version"] == shares.name
        assert "x-model-name" not in answer.headers
    assert {seen.headers.get("x-model-name") for server in servers for seen in server.seen} == {None}
    assert envoy.post({"inputs": "Hello"}, "/stub", x_model_version="v2").text == "v2"
    assert envoy.ask("llama").text == "llama"
    assert not {"model"} & {key for key, value in lines(envoy, 1)[0].items() if value not in (None, "-")}


def test_no_pin_counts_that_no_processor_has_seen(whole: tuple[Snapshot, list[ModelServer]], gateway: Start) -> None:
    envoy = gateway(whole[0], "127.0.0.1:1")
    assert envoy.post({}, "/stub", x_model_version="v2").text == "v1"
    assert envoy.ask("m", x_model_version="v2").text == "v1"


def test_a_prefix_is_read_past_and_stays_in_the_path(servers: Servers, processor: Process, gateway: Start) -> None:
    one, rest = servers("v1", "rest")
    team = Policy("p", models=("m",), versions=(Version("v1", 1, (one.address,)),), path_prefixes=("/team-a",))
    snapshot = Snapshot((team, Policy("rest", versions=(Version("v1", 1, (rest.address,)),))))
    envoy = gateway(snapshot, processor(snapshot).address)
    assert envoy.post({"model": "m"}, "/team-a/v1/chat/completions").text == "v1"
    assert envoy.post({}, "/team-a/v2/models/m/infer").text == "v1"
    assert [seen.path for seen in one.seen] == ["/team-a/v1/chat/completions", "/team-a/v2/models/m/infer"]
    assert envoy.post({"model": "m"}, "/team-b/v1/chat/completions").text == "rest"
