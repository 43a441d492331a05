"""Accounts: labels by where a request went, failures by whose they are; what an observer leaves to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy.events import Closed, Event, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.envoy.logged_request import LoggedRequest
from extproc.exchange import request_outcome
from extproc.exchange.notes import FAILURES, Action, Fault, Observed, RequestAccount, Served
from extproc.exchange.observe import ObserveStream
from extproc.exchange.request_outcome import Accounts, could_not_be_reached, failure, picked_endpoint
from extproc.headers import Headers
from extproc.policy.gpu import Gpu
from extproc.policy.picking import Picking
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.target import Target

SNAPSHOT = Snapshot(
    (
        Policy("llama", models=("llama-*",), versions=(Version("v1", 9, gpu_pools=("west",)), Version("v2", 1))),
        Policy("plain", models=("iris",)),
    ),
    (GpuPool("west", Gpu(), endpoints=("10.0.0.1:80",)),),
)
ROUTED = {
    "api": "openai",
    "model": "llama-3",
    "policy": "llama",
    "version": "v1",
    "gpu_pool": "west",
    "cohort": "sticky",
    "operation": "chat.completions",
}
TARGETS = {
    **{cluster: (target,) for cluster, target in SNAPSHOT.target_by_cluster.items()},
    "llama/v0/west": (Target("llama", "v0", "west", ()),),
    "llama/v1/east": (Target("llama", "v1", "east", ()),),
    "gone/v1/west": (Target("gone", "v1", "west", ()),),
    "outbound|80||shared": (Target("plain", "", "", ()), Target("llama", "v2", "", ())),
}
"""Those of the policies, some that were theirs before, one of a policy that has gone, and a Service of two."""
ASKED: dict[str, Any] = {"asked": "llama-3", "operation": "chat.completions"}
DECIDED = RequestAccount("llama-*", "v1", "west", "openai", "200", 2.0, "sticky", "llama", **ASKED)


def of(
    cluster: str = "llama/v1/west", code: int = 200, metadata: Mapping[str, str] = ROUTED, **more: object
) -> tuple[RequestAccount | Fault | Served, ...]:
    logged = LoggedRequest(code, 2.0, cluster, metadata=metadata, **more)  # type: ignore[arg-type]
    return Accounts(SNAPSHOT, TARGETS).of(logged, {"failed"})


def test_as_decided() -> None:
    assert of() == of("llama/v1/west#grpc") == (DECIDED,)


@pytest.mark.parametrize(("served", "by"), [("a:1", "picked"), ("b:1", "fallback"), ("c:1", "other"), ("", "nobody")])
def test_who_served_a_request_whose_endpoint_was_picked(served: str, by: str) -> None:
    logged = LoggedRequest(200, 2.0, "llama/v1/west", metadata=ROUTED, picked="a:1,b:1", served=served)
    llama, plain = SNAPSHOT.policies
    picking = Snapshot((msgspec.structs.replace(llama, picking=Picking()), plain), SNAPSHOT.pools)
    decided = msgspec.structs.replace(DECIDED, served=served)
    assert Accounts(picking, TARGETS).of(logged) == (decided, Served("llama", "v1", "west", by))
    assert picked_endpoint(picking, logged) == "a:1"
    assert could_not_be_reached(logged) == (by in ("fallback", "other"))
    unconnected = msgspec.structs.replace(logged, flags=("upstream_connection_failure",))
    assert could_not_be_reached(unconnected) == (by != "nobody")
    # A policy that picks none: what a server keeps was asked for there.
    assert Accounts(SNAPSHOT, TARGETS).of(logged) == (DECIDED,)
    assert picked_endpoint(SNAPSHOT, logged) == ""


def test_clusters_are_those_of_the_targets() -> None:
    assert set(SNAPSHOT.target_by_cluster) >= {"llama/v1/west", "plain"}


def test_elsewhere_than_decided() -> None:
    went, fault = of("llama/v1/west", metadata=ROUTED | {"version": "v2", "gpu_pool": ""})
    assert went == RequestAccount("llama-*", "v1", "west", "openai", "200", 2.0, "", "llama", **ASKED)
    assert fault == Fault("not_as_decided")


@pytest.mark.parametrize(
    ("code", "refusal"),
    [("no_room", "no_room"), ("queue_timeout", "queue_timeout"), ("duplicate_model", ""), ("anything", ""), ("", "")],
)
def test_what_we_have_refused_for_want_of_room(code: str, refusal: str) -> None:
    (found,) = of("", 429, refusal=code)
    assert isinstance(found, RequestAccount)
    assert (found.refusal, found.version, found.seconds) == (refusal, "v1", None)


def test_its_user_goes_along() -> None:
    (went,) = of(metadata=ROUTED | {"user": "a1" * 999})
    assert isinstance(went, RequestAccount)
    assert went.user == "a1"


def test_a_farther_pool_that_stood_in_is_as_decided() -> None:
    pools = tuple(GpuPool(name, Gpu(), (f"{name}:80",), f"us-{name}") for name in ("west", "east"))
    policy = Policy("llama", models=("llama-*",), versions=(Version("v1", gpu_pools=("west", "east")),))
    logged = LoggedRequest(200, 2.0, "llama/v1/east", metadata=ROUTED)
    for locality, faults in (("us-west", 0), ("", 1)):
        snapshot = Snapshot((policy,), pools, locality=locality)
        targets = {cluster: (target,) for cluster, target in snapshot.target_by_cluster.items()}
        went, *others = Accounts(snapshot, targets).of(logged)
        assert isinstance(went, RequestAccount)
        assert (went.gpu_pool, went.cohort, len(others)) == ("east", "" if faults else "sticky", faults)


def test_to_another_policys_servers() -> None:
    went, fault = of("plain")
    assert went == RequestAccount("other", "none", "none", "openai", "200", 2.0, "", "plain", **ASKED)
    assert fault == Fault("not_as_decided")


def test_to_a_cluster_of_no_policy() -> None:
    went, fault = of("legacy")
    assert went == RequestAccount("llama-*", "none", "none", "openai", "200", 2.0, "", "llama", **ASKED)
    assert fault == Fault("not_as_decided")


def test_a_service_of_several_targets_is_where_each_was_meant_to_go() -> None:
    (went,) = of("outbound|80||shared", metadata=ROUTED | {"version": "v2", "gpu_pool": ""})
    assert went == RequestAccount("llama-*", "v2", "none", "openai", "200", 2.0, "sticky", "llama", **ASKED)
    strayed, fault = of("outbound|80||shared")
    assert strayed == RequestAccount("other", "none", "none", "openai", "200", 2.0, "", "plain", **ASKED)
    assert fault == Fault("not_as_decided")


def test_a_mesh_behind_the_gateway_chooses() -> None:
    """The cluster is the policy's apex, and tells nothing of the version."""
    assert of("llama") == (DECIDED,)


def test_a_policy_without_versions_passes_on_what_the_request_names() -> None:
    metadata = {"api": "openai", "model": "iris", "policy": "plain", "version": "7"}
    (went,) = of("plain", metadata=metadata)
    assert isinstance(went, RequestAccount)
    assert (went.model, went.version, went.policy) == ("iris", "other", "plain")


def test_a_target_that_has_left_the_policy_since() -> None:
    """A long answer outlives the policy that it was decided by."""
    (went,) = of("llama/v0/west", metadata=ROUTED | {"version": "v0"})
    assert isinstance(went, RequestAccount)
    assert (went.model, went.version, went.gpu_pool) == ("llama-*", "v0", "west")
    (forgotten,) = of("llama/v9/west", metadata=ROUTED | {"version": "v9"})
    assert isinstance(forgotten, RequestAccount)
    assert (forgotten.model, forgotten.version, forgotten.gpu_pool) == ("llama-*", "other", "west")
    (moved,) = of("llama/v1/east", metadata=ROUTED | {"gpu_pool": "east"})
    assert isinstance(moved, RequestAccount)
    assert (moved.model, moved.version, moved.gpu_pool) == ("llama-*", "v1", "east")
    (gone,) = of("gone/v1/west", metadata=ROUTED | {"policy": "gone"})
    assert isinstance(gone, RequestAccount)
    assert (gone.model, gone.version, gone.gpu_pool, gone.policy) == ("other", "v1", "west", "other")
    strayed, fault = of("llama/v0/west")
    assert isinstance(strayed, RequestAccount)
    assert (strayed.version, fault) == ("v0", Fault("not_as_decided"))


def test_nobody_decided() -> None:
    (went,) = of(metadata={})
    assert went == RequestAccount("other", "v1", "west", "none", "200", 2.0, "", "llama")


def test_of_what_nobody_owns_no_version_is_told() -> None:
    (went,) = of(metadata={"cohort": "unowned", "api": "openai", "model": "mistral"})
    assert went == RequestAccount("other", "none", "none", "openai", "200", 2.0, "unowned", asked="mistral")


@pytest.mark.parametrize("code", [0, 400, 503])
def test_it_went_nowhere(code: int) -> None:
    """What was decided counts, and no duration."""
    (went,) = of("", code)
    assert went == RequestAccount("llama-*", "v1", "west", "openai", str(code), None, "sticky", "llama", **ASKED)


@pytest.mark.parametrize(
    ("told", "observed"),
    [
        *[({}, True), ({"observe": "0.25"}, True), ({"observe": "0"}, False), ({"observe_to_end": "0"}, False)],
        *[({"observe": "0.5", "observe_to_end": "0.25"}, True), ({"observe": "0.5", "observe_to_end": "0"}, False)],
    ],
)
def test_what_was_left_out_of_the_sample_is_told(told: dict[str, str], observed: bool) -> None:
    (went,) = of(metadata=ROUTED | told, request_id="x" * 100)
    assert went == msgspec.structs.replace(DECIDED, request_id="x" * 64, observed=observed)


def test_the_models_name_is_bounded() -> None:
    (went,) = of(metadata=ROUTED | {"model": "llama-" + "x" * 1001})
    assert isinstance(went, RequestAccount)
    assert len(went.asked) == 256


def test_the_answers_of_a_session_count_by_themselves() -> None:
    session = ROUTED | {"operation": "realtime"}
    assert of(code=101, metadata=session) == ()
    assert len(of(code=403, metadata=session)) == 1
    assert len(of(code=101)) == 1


def test_a_callers_name_is_bounded() -> None:
    (went,) = of(caller="x" * 10_000)
    assert isinstance(went, RequestAccount)
    assert went.caller == "x" * 256


NOT_ANSWERED, ANSWERED = False, True


@pytest.mark.parametrize(
    ("code", "answered", "flags", "found"),
    [
        (200, ANSWERED, (), ""),
        (500, ANSWERED, (), ""),
        (0, NOT_ANSWERED, ("downstream_connection_termination",), "client_left"),
        (200, ANSWERED, ("downstream_remote_reset",), "client_left"),
        (200, ANSWERED, ("downstream_protocol_error",), "client_left"),
        (200, ANSWERED, ("upstream_connection_termination",), "upstream_broke_off"),
        (200, ANSWERED, ("upstream_remote_reset",), "upstream_broke_off"),
        (404, ANSWERED, ("upstream_protocol_error",), "upstream_broke_off"),
        (500, ANSWERED, ("upstream_protocol_error",), "upstream_broke_off"),
        (200, ANSWERED, ("local_reset",), "upstream_broke_off"),
        (200, ANSWERED, ("upstream_protocol_error", "downstream_remote_reset"), "upstream_broke_off"),
        (200, ANSWERED, ("upstream_request_timeout",), "upstream_stalled"),
        (200, ANSWERED, ("upstream_max_stream_duration_reached",), "upstream_stalled"),
        (200, ANSWERED, ("duration_timeout",), "upstream_stalled"),
        (200, ANSWERED, ("stream_idle_timeout",), "idle"),
        (408, NOT_ANSWERED, ("stream_idle_timeout",), "client_stalled"),
        (504, NOT_ANSWERED, ("stream_idle_timeout",), "upstream_timeout"),
        (101, ANSWERED, ("upstream_connection_termination",), ""),
        (101, ANSWERED, ("downstream_connection_termination",), ""),
        (503, NOT_ANSWERED, ("upstream_connection_termination",), "upstream_reset"),
        (500, NOT_ANSWERED, ("upstream_protocol_error",), "upstream_reset"),
        (502, NOT_ANSWERED, ("upstream_protocol_error",), "upstream_reset"),
        (504, NOT_ANSWERED, ("upstream_request_timeout",), "upstream_timeout"),
        (503, NOT_ANSWERED, ("upstream_connection_failure", "upstream_retry_limit_exceeded"), "upstream_unreachable"),
        (503, NOT_ANSWERED, ("no_healthy_upstream",), "upstream_unreachable"),
        (503, NOT_ANSWERED, ("upstream_overflow",), "upstream_unreachable"),
        (503, NOT_ANSWERED, ("no_cluster_found",), "upstream_unreachable"),
        (503, NOT_ANSWERED, ("dns_resolution_failure",), "upstream_unreachable"),
        (503, NOT_ANSWERED, ("overload_manager",), "overloaded"),
        (404, NOT_ANSWERED, ("no_route_found",), ""),
    ],
)
def test_whose_failure_it_was(code: int, answered: bool, flags: tuple[str, ...], found: str) -> None:
    assert failure(LoggedRequest(code, 1.0, "llama", flags, answered=answered)) == found


@pytest.mark.parametrize("flag", ["upstream_connection_failure", "upstream_request_timeout", "upstream_remote_reset"])
def test_a_grpc_call_that_got_no_answer(flag: str) -> None:
    """Envoy answers with the status 200 and a ``grpc-status``. What is observed of such calls stands for all of them,
    but where nothing is.
    """
    logged = LoggedRequest(200, 1.0, "llama", (flag,), ROUTED | {"observe": "0"})
    for sampling, found in ((None, ""), (0.5, ""), (1.0, ""), (0.0, "no_answer")):
        snapshot = Snapshot((msgspec.structs.replace(SNAPSHOT.policies[0], sampling=sampling), *SNAPSHOT.policies[1:]))
        (went,) = Accounts(snapshot, {}).of(logged)
        assert isinstance(went, RequestAccount)
        assert went.failure == found


def test_a_failure_that_the_answer_told_of_counts_once() -> None:
    for request_id, found in (("failed", ""), ("another", "upstream_broke_off"), ("", "upstream_broke_off")):
        (went,) = of(flags=("upstream_protocol_error",), answered=True, request_id=request_id)
        assert isinstance(went, RequestAccount)
        assert went.failure == found
    (refused,) = of(code=503, flags=("upstream_remote_reset",), request_id="failed")
    assert isinstance(refused, RequestAccount)
    assert refused.failure == "upstream_reset"


@pytest.mark.parametrize(
    ("code", "label"),
    [(0, "0"), (1, "other"), (99, "other"), (100, "100"), (599, "599"), (600, "other"), (1 << 31, "other")],
)
def test_codes_are_statuses(code: int, label: str) -> None:
    (went,) = of(code=code)
    assert isinstance(went, RequestAccount)
    assert went.code == label


@pytest.mark.parametrize(("seconds", "counts"), [(-1.0, False), (0.0, True), (604_800.0, True), (604_801.0, False)])
def test_durations_are_those_of_answers(seconds: float, counts: bool) -> None:
    (went,) = Accounts(SNAPSHOT, TARGETS).of(LoggedRequest(200, seconds, "llama/v1/west", metadata=ROUTED))
    assert isinstance(went, RequestAccount)
    assert went.seconds == (seconds if counts else None)


@given(
    st.integers(0, 599),
    st.text(max_size=20),
    st.lists(st.text(max_size=5)).map(tuple),
    st.dictionaries(st.sampled_from(list(ROUTED)), st.text(max_size=8) | st.sampled_from(list(ROUTED.values()))),
)
def test_labels_are_texts_of_the_policies(
    code: int, cluster: str, flags: tuple[str, ...], metadata: dict[str, str]
) -> None:
    for note in of(cluster, code, metadata, flags=flags):
        if isinstance(note, RequestAccount):
            assert note.model in ("llama-*", "iris", "other")
            assert note.version in ("v0", "v1", "v2", "other", "none")
            assert note.gpu_pool in ("west", "other", "none")
            assert note.failure in ("", *FAILURES)


def request(**metadata: str) -> RequestHeaders:
    return RequestHeaders(Headers.of([(":method", "POST")]), metadata=metadata or ROUTED)


def response(status: str = "200", end: bool = False) -> ResponseHeaders:
    return ResponseHeaders(Headers.of([(":status", status)]), end)


def accounted(*events: Event) -> list[Action]:
    """What an observer notes of a request that is accounted for."""
    stream = ObserveStream(SNAPSHOT, accounted=True)
    return [action for now, event in enumerate(events) for action in stream.receive(event, float(now))]


def test_an_accounted_exchange_says_so() -> None:
    observed, _ = accounted(request(), response(), ResponseBody(b"{}", end_of_stream=True))
    assert isinstance(observed, Observed)
    assert (observed.accounted, observed.error) == (True, "")


def test_who_broke_off_is_for_the_account_to_say() -> None:
    (observed,) = accounted(request(), response(), ResponseBody(b"{"), Closed())
    assert isinstance(observed, Observed)
    assert (observed.accounted, observed.error) == (True, "broken_off")


decisions = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sampled_from(["llama", "plain", "gone"]),
        "version": st.sampled_from(["v1", "v2", "v0"]),
        "gpu_pool": st.sampled_from(["west", "east"]),
        "model": st.sampled_from(["llama-3", "iris", "x"]),
        "cohort": st.sampled_from(["sticky", "unowned"]),
        "api": st.sampled_from(["openai", "made-up"]),
        "operation": st.sampled_from(["chat.completions", "embeddings"]),
        "observe": st.sampled_from(["0", "0.5"]),
    },
)


@given(st.lists(st.tuples(st.sampled_from([*TARGETS, "", "llama/v1/west#grpc", "elsewhere"]), decisions), max_size=8))
def test_what_is_remembered_changes_no_account(requests: list[tuple[str, dict[str, str]]]) -> None:
    accounts = Accounts(SNAPSHOT, TARGETS)
    for cluster, metadata in requests * 2:
        logged = LoggedRequest(200, 2.0, cluster, metadata=metadata)
        assert accounts.of(logged) == Accounts(SNAPSHOT, TARGETS).of(logged)


def test_so_much_is_remembered_and_no_long_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_outcome, "MAX_PLACES", 2)
    accounts = Accounts(SNAPSHOT, TARGETS)
    for model, remembered in (("a", 1), ("b", 2), ("a", 2), ("c" * 1001, 2), ("d", 1)):
        accounts.of(LoggedRequest(200, 2.0, metadata={"model": model}))
        assert len(accounts._places) == remembered, model
    for long in ({"policy": "x" * 1001}, {"version": "x" * 1001}, {"gpu_pool": "x" * 1001}, {"api": "x" * 1001}):
        accounts.of(LoggedRequest(200, 2.0, metadata=long))
    accounts.of(LoggedRequest(200, 2.0, "x" * 1001))
    assert len(accounts._places) == 1


def test_a_session_has_no_account() -> None:
    session = ROUTED | {"operation": "realtime"}
    opened = ResponseHeaders(Headers.of([(":status", "101")]))
    created = b'{"type":"response.created","response":{"id":"a"}}'
    frame = bytes((0x81, len(created))) + created
    observed, *_ = accounted(request(**session), opened, ResponseBody(frame), Closed())
    assert isinstance(observed, Observed)
    assert (observed.code, observed.accounted, observed.error) == ("101", False, "client_left")
    refused, _ = accounted(request(**session), response("403", end=True))
    assert isinstance(refused, Observed)
    assert refused.accounted
