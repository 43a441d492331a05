"""The breakers of a process: what observed requests and accounts tell them, and whom they forget."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.exchange import breakers as module
from extproc.exchange.breakers import Breakers, note_end
from extproc.exchange.notes import Observed, RequestAccount
from extproc.headers import Headers
from extproc.policy.breaker import CLOSED, EJECTED
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.diversion import NoRoom
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
        assert all_breakers.begin(SNAPSHOT, metadata, 1.0) is None
    assert all_breakers.begin(SNAPSHOT, METADATA | {"observe": "0"}, 1.0) is None
    assert all_breakers.describe(SNAPSHOT) == {}
    assert all_breakers.begin(SNAPSHOT, METADATA, 1.0) is not None
    assert all_breakers.describe(SNAPSHOT) == {NAMED: (2, 1, CLOSED)}
    assert all_breakers.describe(Snapshot()) == {}


def test_one_of_a_sample_counts_for_all_that_it_stands_for(all_breakers: Breakers) -> None:
    begun = all_breakers.begin(SNAPSHOT, METADATA | {"observe": "0.25"}, 1.0)
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
        begun = all_breakers.begin(SNAPSHOT, METADATA, 50.0)
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
    all_breakers.begin(SNAPSHOT, METADATA, 50.0)
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
    all_breakers.begin(SNAPSHOT, METADATA, 1.0)
    wider = Snapshot((Policy("chat", models=("chat",), versions=POLICY.versions, breaker=CircuitBreaker(1, 9)),))
    all_breakers.begin(wider, METADATA, 2.0)
    assert all_breakers.describe(wider) == {NAMED: (9, 2, CLOSED)}


def test_workers_share_the_bounds() -> None:
    one = Breakers(lambda: 1.0, processes=2)
    one.begin(SNAPSHOT, METADATA, 1.0)
    assert one.describe(SNAPSHOT)[NAMED][0] == 1


def test_idle_ones_of_old_are_forgotten(all_breakers: Breakers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TARGETS", 1)
    begun = all_breakers.begin(SNAPSHOT, METADATA, 1.0)
    assert begun is not None
    begun[0].end(begun[1], 2.0)
    target = TO_V1.targets["chat", "v1"][0]
    assert all_breakers.busy(TO_V1.policies[0], target) is None
    assert all_breakers.describe(SNAPSHOT).keys() == {NAMED}  # the same cluster
    west = TO_V1.targets["chat", "v2"][0]
    assert all_breakers.busy(TO_V1.policies[0], west) is None
    assert all_breakers.describe(TO_V1).keys() == {("chat", "v2", west.pool)}
