"""Endpoints that the processor picks, through the real Envoy, and the Endpoint Picker Protocol's sentences."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeAlias

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from extproc.headers import DROPPED, FAIRNESS_ID, GPU_POOL, MODEL_NAME, MODEL_VERSION, OBJECTIVE
from extproc.policy.picking import Picking, Saturation
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.envoy.envoy_options import request_mode, typed
from extproc.serve import endpoint_picks
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor, say

pytestmark = pytest.mark.envoy

Servers: TypeAlias = Callable[..., list[ModelServer]]
Processors: TypeAlias = Callable[..., Processor]
Gateways: TypeAlias = Callable[..., Gateway]
PATIENT = {"message_timeout": 20.0}
HEADER = "x-gateway-destination-endpoint"
NOBODY = "127.0.0.1:1"
SERVERS = ("picked", "fallback", "other", "nobody")


def chat(content: str, model: str = "llama") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}]}


def addresses(servers: list[ModelServer]) -> tuple[str, ...]:
    return tuple(server.address for server in servers)


def picking(*endpoints: str, by: str = "prefix", name: str = "chat", **spec: Any) -> Policy:
    return Policy(name, models=(name,), versions=(Version("v1", 1, endpoints),), picking=Picking(by, **spec))


def of_the_protocol(document: dict[str, Any]) -> None:
    """Makes the rendered Envoy a gateway of the protocol. Requests say how: ``x-subset`` is the subset, a Value of
    Protocol Buffers in base64; ``x-mode`` how the body comes. Answers have the picked endpoints' metadata.
    """
    (listener,) = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = (one["typed_config"] for one in manager["http_filters"] if one["name"] == "aimesh.route")
    route["metadata_options"]["forwarding_namespaces"] = {"untyped": ["envoy.lb.subset_hint"]}
    hint = {"metadata_namespace": "envoy.lb.subset_hint", "key": f"{HEADER}-subset"}
    hint |= {"type": "PROTOBUF_VALUE", "encode": "BASE64"}
    rules = [{"header": "x-subset", "on_header_present": hint, "remove": True}]
    subset = typed("subset", "extensions.filters.http.header_to_metadata.v3.Config", request_rules=rules)
    told = {"append": {"header": {"key": "x-picked", "value": f"%DYNAMIC_METADATA(envoy.lb:{HEADER})%"}}}
    mutations = {"response_mutations": [told]}
    picked = typed("picked", "extensions.filters.http.header_mutation.v3.HeaderMutation", mutations=mutations)
    manager["http_filters"] = [subset, *manager["http_filters"][:-1], picked, manager["http_filters"][-1]]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    for mode in ("STREAMED", "FULL_DUPLEX_STREAMED"):
        before = deepcopy(routes[-1])
        before["match"]["headers"] = [{"name": "x-mode", "string_match": {"exact": mode}}]
        trailers = "SEND" if mode == "FULL_DUPLEX_STREAMED" else "SKIP"
        overrides = {"processing_mode": request_mode(mode) | {"request_trailer_mode": trailers}}
        kind = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
        before["typed_per_filter_config"] = {"aimesh.route": {"@type": kind, "overrides": overrides}}
        routes.insert(-1, before)


def value(subset: Any) -> str:
    """What ``x-subset`` has for this subset."""
    made = Value()
    ParseDict(subset, made)
    return base64.b64encode(made.SerializeToString()).decode()


def served(processor: Processor) -> Counter[str]:
    """Requests that Envoy says have ended, by who served them."""
    families = processor.metrics.collect()
    samples = [s for family in families for s in family.samples if s.name == "inference_picks_served_total"]
    return Counter({by: sum(int(s.value) for s in samples if s.labels["by"] == by) for by in SERVERS})


def test_prefixes_and_loads_decide_and_the_client_does_not(
    servers: Servers, processor: Processors, gateway: Gateways
) -> None:
    *found, one, outside = servers("a", "b", "c", "1", "outside")
    a, b, c = addresses(found)
    weighted = Version("v1", 1, (a, b)), Version("v2", 1, (c, one.address))
    policies = (
        picking(a, b, c),
        picking(a, b, c, by="least-loaded", name="least"),
        Policy("weighted", models=("weighted",), versions=weighted, picking=Picking()),
        Policy("other", models=("other",), versions=(Version("v1", 1, (outside.address,)),)),
    )
    snapshot = Snapshot(policies)
    running = processor(snapshot)
    board = running.board
    envoy = gateway(snapshot, running.address, **PATIENT)
    board.waiting = {a: 2, b: 0, c: 1}
    assert envoy.post(chat("x", "least")).text == "b"
    assert found[1].seen[-1].headers[HEADER] == f"{b},{c},{a}"
    homes = {}
    for user, free in zip("uvw", (a, b, c), strict=True):
        board.waiting = {a: 9, b: 9, c: 9} | {free: 0}
        homes[user] = envoy.post(chat(user * 4000, "chat")).text
    assert homes == {"u": "a", "v": "b", "w": "c"}
    board.waiting = {a: 0, b: 0, c: 0}
    for turn in range(3):
        assert {user: envoy.post(chat(user * 4000 + str(turn), "chat")).text for user in homes} == homes
    # Whatever a client says, it gets a server of its model's.
    named = dict.fromkeys(DROPPED, outside.address) | {MODEL_NAME: "other", MODEL_VERSION: "v1", GPU_POOL: "none"}
    named |= {OBJECTIVE: outside.address, FAIRNESS_ID: outside.address, "x-envoy-original-dst-host": outside.address}
    forged = {name.replace("-", "_"): text for name, text in named.items()}
    assert envoy.post(chat("u" * 4000, "chat"), **forged).text == "a"
    assert envoy.post(b"{", **forged).text in "abc", "nothing was read"
    assert outside.seen == []
    # Of a hundred that are drawn between two versions, each is answered by the server that was picked for it.
    drawn = [envoy.post(chat(f"{n}" * 500, "weighted")).text for n in range(100)]
    assert set(drawn) == {"a", "b", "c", "1"}
    asked = [(server, seen) for server in (*found, one) for seen in server.seen if HEADER in seen.headers]
    assert all(seen.headers[HEADER].split(",")[0] == server.address for server, seen in asked)
    assert all(f"{HEADER}-subset" not in seen.headers for server in found for seen in server.seen)
    until(lambda: served(running).total() == len(asked))  # each has ended, by Envoy's access log
    assert served(running) == Counter({"picked": len(asked)})
    assert not board.sent.total()


def test_an_endpoint_that_dies_costs_no_request(
    servers: Servers, processor: Processors, gateway: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envoy tries the next ones, until its access log has told of it: then nothing is sent there."""
    monkeypatch.setattr(endpoint_picks, "AVOIDED_FOR", 3600.0)
    staying = servers("a", "b")
    a, b = addresses(staying)
    with ModelServer("c") as leaving:
        leaving.then = say(b"c", connection="close")  # else Envoy keeps connections to it
        c = leaving.address
        snapshot = Snapshot((picking(a, b, c),))
        running = processor(snapshot)
        board = running.board
        envoy = gateway(snapshot, running.address, **PATIENT)
        board.waiting = {a: 2, b: 1, c: 0}
        assert envoy.post(chat("u" * 4000, "chat")).text == "c"
    answers = [envoy.post(chat("u" * 4000, "chat")) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert answers[0].text == "b"
    assert {answer.text for answer in answers} <= {"a", "b"}
    until(lambda: served(running).total() == 5)
    found = served(running)
    assert found["fallback"] >= 1
    assert found == Counter({"picked": 5 - found["fallback"], "fallback": found["fallback"]})
    assert envoy.post(chat("u" * 4000, "chat")).status == 200
    until(lambda: served(running)["picked"] == 6 - found["fallback"])


def test_the_sentences_of_the_protocol(servers: Servers, processor: Processors, gateway: Gateways) -> None:
    """kubernetes-sigs/gateway-api-inference-extension, docs/proposals/004-endpoint-picker-protocol."""
    found = servers("a", "b", "c")
    a, b, c = addresses(found)
    text = dict(zip((a, b, c), "abc", strict=True))
    saturated = picking(a, b, c, name="saturated", saturation=Saturation(stale=True), priority=-1)
    snapshot = Snapshot((picking(a, b, c), saturated, picking(NOBODY, name="gone")))
    running = processor(snapshot)
    running.loads.unreachable = frozenset((NOBODY,))
    envoy = gateway(snapshot, running.address, alter=of_the_protocol, fail_open=False, **PATIENT)
    for mode in ("BUFFERED", "STREAMED", "FULL_DUPLEX_STREAMED"):
        for server in found:
            server.seen.clear()
        large = chat("x" * 300_000, "chat")
        answer = envoy.post(large, x_mode=mode)
        (seen,) = (one for server in found for one in server.seen)
        assert json.loads(seen.body) == large, mode
        # "Setting the x-gateway-destination-endpoint HTTP header to one or more selected endpoints"; "The EPP MUST not
        # set two different values in the header and the inner response metadata value."
        assert answer.headers["x-picked"] == seen.headers[HEADER], mode
        # Of the form "<ip:port>,<ip:port>,..."; "The first valid endpoint in the list will be used."
        first, *others = seen.headers[HEADER].split(",")
        assert {first, *others} == {a, b, c}
        assert answer.text == text[first]
        for subset, allowed in (
            # "the EPP MUST only select endpoints from the specified list"
            ([b], {b}),
            ([b, c], {b, c}),
            (f"{a},{c}", {a, c}),
            ([b.rpartition(":")[0]], {a, b, c}),  # all are on one host
            ([b, "10.9.9.9:80"], {b}),
            # "If none of the endpoints in the list is eligible or the list is empty, then … 503"
            ([], set()),
            ("", set()),
            (["10.9.9.9:80"], set()),
            # "If the key … is not set, then the EPP MUST select from the set defined by the InferencePool"
            (None, {a, b, c}),
        ):
            hints = {} if subset is None else {"x_subset": value(subset)}
            answer = envoy.post(chat("x", "chat"), x_mode=mode, **hints)
            assert answer.status == (200 if allowed else 503), (mode, subset)
            if allowed:
                assert set(answer.headers["x-picked"].split(",")) == allowed, (mode, subset)
                assert answer.text in [text[address] for address in allowed]
        # There is a sentence for no ready endpoints: "with 503 (Service Unavailable) HTTP status code".
        assert envoy.post(chat("x", "gone"), x_mode=mode).status == 503
        # And for what "should be dropped": "with 429 (Too Many Requests) HTTP status code".
        shed = envoy.post(chat("x", "saturated"), x_mode=mode)
        assert (shed.status, shed.headers["retry-after"]) == (429, "1")
