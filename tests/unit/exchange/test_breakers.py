"""The breakers of a process: what observed requests and accounts tell them, and whom they forget."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.exchange import breakers as module
from extproc.exchange.breakers import Breakers, note_end
from extproc.exchange.notes import Observed, RequestAccount
from extproc.headers import DESTINATION_ENDPOINT, Headers
from extproc.policy.breaker import CLOSED, EJECTED
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.diversion import NoRoom
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.unit.policy.test_diversion import TO_V1

BOUNDS = CircuitBreaker(1, 2)
POLICY = Policy("chat", models=("chat",), versions=(Version("v1", 1, ("10.0.0.1:80",)),), breaker=BOUNDS)
OTHER = Policy("other", models=("other",), versions=(Version("v1", 1, ("10.0.0.2:80",)),))
SNAPSHOT = Snapshot((POLICY, OTHER))
METADATA = {"policy": "chat", "version": "v1", "api": "openai"}
NAMED = ("chat", "v1", "")


@pytest.fixture
def all_breakers() -> Breakers:
    return Breakers(lambda: 50.0)


def observed(**fields: Any) -> Observed:
    return Observed("chat", "v1", "none", "openai", **{"code": "200", "seconds": 1.0, "policy": "chat", **fields})


def account(**fields: Any) -> RequestAccount:
    fields = {"policy": "chat", "failure": "upstream_broke_off", **fields}
    return RequestAccount("chat", "v1", "none", "openai", "200", 1.0, **fields)


def state(found: Breakers) -> str:
    return found.describe(SNAPSHOT)[NAMED][2]


def test_only_what_a_policy_wants_limited_is_counted(all_breakers: Breakers) -> None:
    for metadata in ({}, {"policy": "gone"}, {"policy": "other", "version": "v1"}, METADATA | {"version": "v9"}):
        assert all_breakers.begin(SNAPSHOT, metadata, Headers(), 1.0) is None
    assert all_breakers.begin(SNAPSHOT, METADATA | {"observe": "0"}, Headers(), 1.0) is None
    assert all_breakers.describe(SNAPSHOT) == {}
    assert all_breakers.begin(SNAPSHOT, METADATA, Headers(), 1.0) is not None
    assert all_breakers.describe(SNAPSHOT) == {NAMED: (2, 1, CLOSED, ())}
    assert all_breakers.describe(Snapshot()) == {}


def test_one_of_a_sample_counts_for_all_that_it_stands_for(all_breakers: Breakers) -> None:
    begun = all_breakers.begin(SNAPSHOT, METADATA | {"observe": "0.25"}, Headers(), 1.0)
    assert begun is not None
    assert all_breakers.describe(SNAPSHOT)[NAMED][1] == 4
    begun[0].end(begun[1], 2.0)
    assert all_breakers.describe(SNAPSHOT)[NAMED][1] == 0


@pytest.mark.parametrize(
    ("fields", "ejects"),
    [
        ({}, False),
        ({"code": "500"}, True),
        ({"code": "429"}, True),
        ({"code": "400"}, False),
        ({"error": "error_in_stream"}, True),
        ({"error": "cut_short"}, True),
        ({"error": "broken_off"}, False),
        ({"error": "client_left"}, False),
    ],
)
def test_what_is_the_servers_fault(fields: dict[str, str], ejects: bool, all_breakers: Breakers) -> None:
    for _ in range(8):
        begun = all_breakers.begin(SNAPSHOT, METADATA, Headers(), 50.0)
        assert begun is not None
        note_end(*begun, observed(**fields), 50.0)
        begun[0].end(begun[1], 50.0)
    assert state(all_breakers) == (EJECTED if ejects else CLOSED)


@pytest.mark.parametrize(
    ("fields", "ejects"),
    [
        ({}, True),
        ({"observed": False}, False),
        ({"failure": "client_left"}, False),
        ({"policy": "other"}, False),
    ],
)
def test_accounts_tell_of_streams_that_break(fields: dict[str, Any], ejects: bool, all_breakers: Breakers) -> None:
    all_breakers.begin(SNAPSHOT, METADATA, Headers(), 50.0)
    for _ in range(8):
        all_breakers.account(SNAPSHOT, account(**fields))
    assert state(all_breakers) == (EJECTED if ejects else CLOSED)


def test_decisions_count_until_they_are_seen_and_the_rest_is_refused(all_breakers: Breakers) -> None:
    decision = Decision(None, POLICY, "chat", "v1", "default")  # type: ignore[arg-type]
    asked = (Headers(), None, b"key")
    for _ in range(2):
        assert all_breakers.admit(decision, asked, SNAPSHOT, frozenset(), stays=False) == (decision, ())
    with pytest.raises(NoRoom):
        all_breakers.admit(decision, asked, SNAPSHOT, frozenset(), stays=False)
    assert all_breakers.admit(decision, asked, SNAPSHOT, frozenset(), stays=True) == (decision, ())


def test_a_reload_changes_bounds_and_forgets_nothing(all_breakers: Breakers) -> None:
    all_breakers.begin(SNAPSHOT, METADATA, Headers(), 1.0)
    wider = Snapshot((Policy("chat", models=("chat",), versions=POLICY.versions, breaker=CircuitBreaker(1, 9)),))
    all_breakers.begin(wider, METADATA, Headers(), 2.0)
    assert all_breakers.describe(wider) == {NAMED: (9, 2, CLOSED, ())}


def test_workers_share_the_bounds() -> None:
    one = Breakers(lambda: 1.0, processes=2)
    one.begin(SNAPSHOT, METADATA, Headers(), 1.0)
    assert one.describe(SNAPSHOT)[NAMED][0] == 1
    one.wanted(PICKED)
    one.begin(PICKED, METADATA, picked(A), 1.0)
    assert one.describe(PICKED)[NAMED][0] == 2  # of two endpoints


def test_idle_ones_of_old_are_forgotten(all_breakers: Breakers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TARGETS", 1)
    begun = all_breakers.begin(SNAPSHOT, METADATA, Headers(), 1.0)
    assert begun is not None
    begun[0].end(begun[1], 2.0)
    target = TO_V1.targets["chat", "v1"][0]
    assert all_breakers.busy(TO_V1.policies[0], target, False) is None
    assert all_breakers.describe(SNAPSHOT).keys() == {NAMED}  # the same cluster
    west = TO_V1.targets["chat", "v2"][0]
    assert all_breakers.busy(TO_V1.policies[0], west, False) is None
    assert all_breakers.describe(TO_V1).keys() == {("chat", "v2", west.pool)}


A, B = "10.0.0.1:80", "10.0.0.2:80"
PICKED = Snapshot(
    (Policy("chat", models=("chat",), versions=(Version("v1", 1, (A, B)),), breaker=BOUNDS, picking=Picking()),)
)


def picked(*endpoints: str) -> Headers:
    return Headers.of([(DESTINATION_ENDPOINT, ",".join(endpoints))])


@pytest.fixture
def of_endpoints(all_breakers: Breakers) -> Breakers:
    assert all_breakers.wanted(PICKED)
    return all_breakers


def test_where_endpoints_are_picked_each_has_a_breaker(of_endpoints: Breakers) -> None:
    (policy,), (target,) = PICKED.policies, PICKED.targets["chat", "v1"]
    first = of_endpoints.begin(PICKED, METADATA, picked(A, B), 1.0)
    assert first is not None
    assert of_endpoints.describe(PICKED) == {NAMED: (4, 1, CLOSED, ())}
    assert of_endpoints.begin(PICKED, METADATA, picked("10.0.0.9:80"), 1.0) is None
    for _ in range(8):
        of_endpoints.account(PICKED, account(served=B))
        of_endpoints.account(PICKED, account())  # it is not known who served it
    assert of_endpoints.describe(PICKED) == {NAMED: (3, 1, CLOSED, (B,))}
    assert of_endpoints.busy(policy, target, False) is None
    assert of_endpoints.begin(PICKED, METADATA, picked(A), 1.0) is not None
    assert of_endpoints.busy(policy, target, False) is not None
    assert of_endpoints.within(policy, target, False)  # the one that is ejected
    decision = Decision(None, policy, "chat", "v1", "default")  # type: ignore[arg-type]
    with pytest.raises(NoRoom):
        of_endpoints.admit(decision, (Headers(), None, b"key"), PICKED, frozenset(), stays=False)
    first[0].end(first[1], 1.0)
    found = of_endpoints.admit(decision, (Headers(), None, b"key"), PICKED, frozenset(), stays=False)
    assert found == (decision, ())
    assert of_endpoints.describe(PICKED)[NAMED][1] == 1  # the pick says to which it goes


def test_a_request_counts_where_it_is_answered(of_endpoints: Breakers) -> None:
    begun = of_endpoints.begin(PICKED, METADATA | {"streamed": "true", "observe": "0.5"}, picked(A, B), 1.0)
    assert begun is not None
    assert of_endpoints.served(*begun, A, 1.5) == begun
    moved = of_endpoints.served(*begun, B, 1.5)
    assert moved is not None
    assert (begun[0].in_flight, moved[0].in_flight, moved[1].waiting) == (0, 2, True)
    assert of_endpoints.served(*moved, "10.0.0.9:80", 1.6) is None
    assert of_endpoints.describe(PICKED)[NAMED][1] == 0


def test_endpoints_of_targets_that_are_gone_are_forgotten(of_endpoints: Breakers) -> None:
    assert of_endpoints.begin(PICKED, METADATA, picked(A), 1.0) is not None
    fewer = (msgspec.structs.replace(PICKED.policies[0], versions=(Version("v1", 1, (B,)),)),)
    assert of_endpoints.wanted(Snapshot(fewer))
    assert of_endpoints.endpoints(fewer[0], NAMED, False) is not None
    assert of_endpoints.describe(PICKED) == {NAMED: (2, 0, CLOSED, ())}
    assert of_endpoints.wanted(SNAPSHOT)
    assert of_endpoints.endpoints(fewer[0], NAMED, False) is None, "the policy in force picks none"
    assert not of_endpoints.wanted(Snapshot((OTHER,)))
    assert of_endpoints.describe(PICKED) == {}


def test_what_was_of_endpoints_ends_with_a_reload_that_leaves_them_out(of_endpoints: Breakers) -> None:
    (policy,) = PICKED.policies
    for _ in range(8):
        of_endpoints.account(PICKED, account(served=B))
    assert of_endpoints.describe(PICKED) == {NAMED: (3, 0, CLOSED, (B,))}
    fewer = Snapshot((msgspec.structs.replace(policy, versions=(Version("v1", 1, (A,)),)),))
    assert of_endpoints.wanted(fewer)
    assert of_endpoints.describe(fewer) == {NAMED: (2, 0, CLOSED, ())}, "before any request"
    unpicked = Snapshot((msgspec.structs.replace(policy, picking=None),))
    assert of_endpoints.wanted(unpicked)
    assert of_endpoints.begin(unpicked, METADATA, Headers(), 1.0) is not None
    assert of_endpoints.describe(unpicked) == {NAMED: (2, 1, CLOSED, ())}


def test_servers_for_other_protocols_are_no_room() -> None:
    one, grpc = Breakers(lambda: 50.0), "10.0.0.1:90"
    version = Version("v1", 1, (A,), grpc_endpoints=(grpc,))
    found = Snapshot((msgspec.structs.replace(PICKED.policies[0], versions=(version,)),))
    (policy,), (target,) = found.policies, found.targets["chat", "v1"]
    assert one.wanted(found)
    for _ in range(2):
        assert one.begin(found, METADATA, picked(A), 1.0) is not None
    assert one.busy(policy, target, False) is not None
    assert one.busy(policy, target, True) is None
    calls = Headers.of([(DESTINATION_ENDPOINT, grpc), ("content-type", "application/grpc")])
    assert one.begin(found, METADATA, calls, 1.0) is not None
    assert one.describe(found) == {NAMED: (4, 3, CLOSED, ())}
    for _ in range(8):
        one.account(found, account(served=grpc))
    assert one.busy(policy, target, True) is not None
    assert one.describe(found) == {NAMED: (3, 3, CLOSED, (grpc,))}


def test_servers_that_nobody_can_reach_are_no_room() -> None:
    unreachable = [frozenset[str](), frozenset((B,)), frozenset((A, B))]
    one = Breakers(lambda: 50.0, unreachable=lambda: unreachable[0])
    (policy,), (target,) = PICKED.policies, PICKED.targets["chat", "v1"]
    assert one.wanted(PICKED)
    for _ in range(2):
        assert one.begin(PICKED, METADATA, picked(A), 1.0) is not None
    assert one.busy(policy, target, False) is None
    del unreachable[0]
    assert one.busy(policy, target, False) is not None
    assert not one.within(policy, target, False)
    del unreachable[0]
    assert one.busy(policy, target, False) is None, "that is not for breakers to say"


def test_endpoints_that_are_names_have_none(all_breakers: Breakers) -> None:
    named = msgspec.structs.replace(PICKED.policies[0], versions=(Version("v1", 1, ("one.example:80",)),))
    all_breakers.wanted(Snapshot((named,)))
    assert all_breakers.endpoints(named, NAMED, False) is None
    assert all_breakers.begin(Snapshot((named,)), METADATA, Headers(), 1.0) is not None


def test_names_that_a_stranger_makes_up_are_not_kept(of_endpoints: Breakers) -> None:
    for number in range(9):
        made_up = METADATA | {"version": f"v{number}", "gpu_pool": "none of ours"}
        assert of_endpoints.begin(PICKED, made_up, picked(A), 1.0) is None
    assert of_endpoints.describe(PICKED) == {}
