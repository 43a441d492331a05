"""Where a request goes whose target has no room, in which order, and when it is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.request import InferenceRequest
from extproc.headers import Headers
from extproc.policy import gpu
from extproc.policy.circuit_breaker import Busy, CircuitBreaker
from extproc.policy.decision import Decision, decide
from extproc.policy.diversion import Diverted, NoRoom, with_room
from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.target import NOTHING_DOWN, Target

GPU = gpu.describe("NVIDIA-A100-SXM4-80GB")
POOLS = GpuPool("west", GPU, ("10.0.0.1:80",)), GpuPool("east", GPU, ("10.0.0.2:80",))
VERSIONS = Version("v2", 1, gpu_pools=("west", "east")), Version("v1", 0, ("10.0.0.3:80",), gpu_pools=())
SMALL = Policy("small", models=("small-8b", "s-*"), versions=(Version("s1", 1, ("10.0.0.4:80",)),))
FULL, EJECTED = Busy(False, 1), Busy(True, 7)


class Told:
    """Limits that are said."""

    def __init__(self, busy: dict[str, Busy], without: frozenset[str] = frozenset()) -> None:
        """``without``: clusters that have no room for what nobody else can take either."""
        self.busy_clusters, self.without = busy, without

    def busy(self, _: Policy, target: Target, _grpc: bool) -> Busy | None:
        return self.busy_clusters.get(target.cluster)

    def within(self, _: Policy, target: Target, _grpc: bool) -> bool:
        return target.cluster not in self.without


def snapshot(breaker: CircuitBreaker, **more: object) -> Snapshot:
    chat = Policy("chat", models=("chat",), versions=VERSIONS, gpu=Requirement(), breaker=breaker, **more)  # type: ignore[arg-type]
    return Snapshot((chat, SMALL), POOLS)


def placed(
    snapshot: Snapshot, limits: Told, key: bytes = b"k", down: frozenset[str] = NOTHING_DOWN, **headers: str
) -> tuple[Decision, Diverted | None]:
    found = Headers.of((name.replace("_", "-"), value) for name, value in headers.items())
    decision = decide(InferenceRequest("openai", "chat.completions", "chat"), found, snapshot, key, down=down)
    assert decision.policy is not None
    return with_room(decision, decision.policy, key, snapshot, down, limits)


def there(decision: Decision) -> tuple[str, str, str]:
    return decision.version, decision.pool, decision.cohort


TO_V1 = snapshot(CircuitBreaker(fallback_version="v1"))
TO_SMALL = snapshot(CircuitBreaker(fallback_policy="small"))
WEST, EAST = "chat/v2/west", "chat/v2/east"


@given(st.binary(min_size=1, max_size=8))
def test_who_has_room_keeps_his_requests(key: bytes) -> None:
    decision, note = placed(TO_V1, Told({}), key)
    assert note is None
    busy = EAST if decision.pool == "west" else WEST
    assert placed(TO_V1, Told({busy: FULL}), key) == (decision, None)


@pytest.mark.parametrize("why", [FULL, EJECTED])
def test_another_pool_then_the_fallback(why: Busy) -> None:
    for key in map(str.encode, "abcdefgh"):
        first, _ = placed(TO_V1, Told({}), key)
        mine, other = (WEST, "east") if first.pool == "west" else (EAST, "west")
        decision, note = placed(TO_V1, Told({mine: why}), key)
        assert there(decision) == ("v2", other, first.cohort)
        assert note == Diverted("chat", "v2", "pool")
        decision, note = placed(TO_V1, Told({WEST: why, EAST: why}), key)
        assert there(decision) == ("v1", "", "fallback")
        assert ("x-model-cohort", "fallback") in decision.headers()
        assert ("cohort", "fallback") in decision.metadata()
        assert note == Diverted("chat", "v2", "version")


def test_another_policy_is_asked_for_its_first_model() -> None:
    decision, note = placed(TO_SMALL, Told({WEST: FULL, EAST: FULL}))
    assert there(decision) == ("s1", "", "fallback")
    assert (decision.request.model, decision.model_rewrite, decision.pattern) == ("small-8b",) * 3
    assert decision.policy is SMALL
    assert note == Diverted("chat", "v2", "policy")


def test_what_is_down_takes_nothing() -> None:
    limits = Told({WEST: FULL})
    down = frozenset((EAST,))
    decision, _ = placed(TO_V1, limits, down=down)
    assert there(decision) == ("v1", "", "fallback")


def test_who_asked_for_a_version_gets_no_other() -> None:
    pinned = snapshot(CircuitBreaker(fallback_version="v1"), allow_pin=True)
    with pytest.raises(NoRoom):
        placed(pinned, Told({WEST: FULL, EAST: FULL}), x_model_version="v2")


def test_with_no_room_anywhere_it_is_refused() -> None:
    full = Told({WEST: FULL, EAST: EJECTED, "chat/v1": FULL}, without=frozenset((EAST,)))
    with pytest.raises(NoRoom) as refused:
        placed(TO_V1, full)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "no_room", 1)
    assert refused.value.notes == (Diverted("chat", "v2", "refused"),)
    ejected = Told(dict.fromkeys((WEST, EAST, "chat/v1"), EJECTED), without=frozenset((WEST, EAST)))
    with pytest.raises(NoRoom) as refused:
        placed(TO_V1, ejected)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "version_ejected", 7)


def test_who_is_ejected_answers_what_nobody_else_can() -> None:
    decision, _ = placed(snapshot(CircuitBreaker()), Told({WEST: EJECTED, EAST: FULL}))
    assert there(decision)[:2] == ("v2", "west")


def test_a_version_is_no_fallback_of_itself() -> None:
    with pytest.raises(NoRoom):
        placed(snapshot(CircuitBreaker(fallback_version="v2")), Told({WEST: FULL, EAST: FULL}))


def test_a_policy_without_versions_spills_too() -> None:
    plain = Policy("plain", models=("chat",), gpu=Requirement(), breaker=CircuitBreaker())
    view = Snapshot((plain,), POOLS)
    first, _ = placed(view, Told({}))
    decision, note = placed(view, Told({f"plain/{first.pool}": FULL}))
    assert {first.pool, decision.pool} == {"west", "east"}
    assert note == Diverted("plain", "", "pool")


def test_a_call_of_grpc_goes_to_a_pool_whose_servers_of_grpc_can_be_reached() -> None:
    pools = tuple(
        GpuPool(name, GPU, (f"10.0.0.{at}:80",), grpc_endpoints=(f"10.0.0.{at}:81",))
        for at, name in enumerate(("west", "east", "north"), 1)
    )
    policy = Policy("chat", models=("chat",), gpu=Requirement(), breaker=CircuitBreaker(), versions=(Version("v2"),))
    found = Snapshot((policy,), pools)
    down = frozenset(("chat/v2/east#grpc", "chat/v2/north"))
    headers = Headers.of([("content-type", "application/grpc")])
    limits = Told({"chat/v2/west": FULL})
    for n in range(50):
        key = b"%d" % n
        decision = decide(InferenceRequest("oip", "infer", "chat"), headers, found, key, down=down)
        assert with_room(decision, policy, key, found, down, limits, grpc=True)[0].pool == "north"
