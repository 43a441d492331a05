"""Weights that a rule may have."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter import plan
from linkerd_adapter.names import Service
from linkerd_adapter.plan import Backend
from linkerd_adapter.weights import MAX_WEIGHT, weighted_backends, whole_weights

from extproc.policy.snapshot import Policy, Snapshot, Version

APP = (("app", "chat"),)
V1, V2 = Backend(Service("ai", "v1"), 80), Backend(Service("ai", "v2"), 80)


def chat(*versions: Version, name: str = "chat", host: str = "chat", **more: object) -> Policy:
    return Policy(name, "ai", APP, host, versions=versions, **more)  # type: ignore[arg-type]


def test_what_has_no_version_goes_by_weight_or_to_the_default() -> None:
    policy = chat(Version("v1", 3), Version("v2", 1), Version("v3", 0))
    made = plan.make(Snapshot((policy,)), "ai")
    assert [(b.service.name, w) for b, w in weighted_backends(made, policy, grpc=False)] == [
        ("chat-v1", 3),
        ("chat-v2", 1),
    ]
    policy = chat(Version("v1", 3), Version("v2", 0), default="v2")
    made = plan.make(Snapshot((policy,)), "ai")
    assert [(b.service.name, w) for b, w in weighted_backends(made, policy, grpc=False)] == [("chat-v2", 1)]


def test_a_versions_weight_is_spread_by_endpoints() -> None:
    policy = chat(Version("v1", 3, ("10.0.0.1:80", "10.0.0.2:80", "a.b.svc:80")), Version("v2", 1))
    made = plan.make(Snapshot((policy,)), "ai")
    found = {b.service.name: w for b, w in weighted_backends(made, policy, grpc=False)}
    assert found == {"a": 1, "chat-v1": 2, "chat-v2": 1}


def test_shares_of_one_service_are_added() -> None:
    assert whole_weights([]) == []
    assert whole_weights([(V1, Fraction(1, 2)), (V2, Fraction(1, 3)), (V1, Fraction(1, 6))]) == [(V1, 2), (V2, 1)]
    assert whole_weights([(V1, Fraction(7, 3)), (V1, Fraction(1))]) == [(V1, 1)]
    other_port = Backend(V1.service, 81)
    assert whole_weights([(V1, Fraction(1)), (other_port, Fraction(2))]) == [(V1, 1), (other_port, 2)]


def test_weights_at_the_limit_stay_and_none_falls_to_nothing() -> None:
    assert whole_weights([(V1, Fraction(MAX_WEIGHT)), (V2, Fraction(1))]) == [(V1, MAX_WEIGHT), (V2, 1)]
    assert whole_weights([(V1, Fraction(MAX_WEIGHT * 4)), (V2, Fraction(1))]) == [(V1, MAX_WEIGHT), (V2, 1)]


@given(st.lists(st.fractions(Fraction(1, 1000), 1000, max_denominator=1000), min_size=2, max_size=5))
def test_weights_keep_their_relation(parts: list[Fraction]) -> None:
    pairs = [(Backend(Service("ai", f"v{i}"), 80), part) for i, part in enumerate(parts)]
    weights = [weight for _, weight in whole_weights(pairs)]
    assert all(1 <= weight <= MAX_WEIGHT for weight in weights)
    total, wanted = sum(weights), sum(parts)
    assert all(abs(Fraction(w, total) - p / wanted) < Fraction(1, 1000) for w, p in zip(weights, parts, strict=True))
