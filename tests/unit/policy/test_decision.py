"""The decision: which policy, which version, which pool, in which order of precedence."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.request import InferenceRequest
from extproc.errors import Rejected
from extproc.headers import Headers
from extproc.policy import gpu
from extproc.policy.decision import Decision, decide, follow
from extproc.policy.gpu import Requirement
from extproc.policy.rollout_plan import RolloutPlan
from extproc.policy.session_tag import Place
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, Snapshot, Sticky, Version

V1, V2 = Version("v1", 90), Version("v2", 10)
BETA = Version("v2", 10, match=(HeaderMatch((("x-beta", b"true"),)), HeaderMatch((("x-a", b"1"), ("x-b", b"2")))))
A100 = GpuPool("west", gpu.describe("NVIDIA-A100-SXM4-80GB"), ("10.0.0.1:8000",))
H100 = GpuPool("east", gpu.describe("NVIDIA-H100-80GB-HBM3"), ("10.0.0.2:8000", "10.0.0.3:8000"))


def one(snapshot: Snapshot, headers: dict[str, str] | None = None, model: str = "llama", **more: str) -> Decision:
    asked = InferenceRequest("openai", "completions", model, more.get("version"))
    entropy = more.get("entropy", "e").encode()
    return decide(asked, Headers.of((headers or {}).items()), snapshot, entropy, more.get("body_key"))


def policy(*versions: Version, **more: object) -> Snapshot:
    return Snapshot((Policy("p", models=("llama", "llama-*"), versions=versions, **more),))  # type: ignore[arg-type]


def test_nobody_owns_the_model() -> None:
    decision = one(policy(V1), model="mistral")
    assert decision.policy is None
    assert decision.headers() == ()
    assert decision.metadata() == (("api", "openai"), ("operation", "completions"), ("model", "mistral"))


def test_the_only_version_is_the_default() -> None:
    decision = one(policy(V1))
    assert (decision.version, decision.cohort, decision.pattern) == ("v1", "default", "llama")
    assert decision.headers() == (("x-model-name", "llama"), ("x-model-version", "v1"))


def test_without_versions_the_requests_own_is_passed_on() -> None:
    assert one(policy(), version="7").headers() == (("x-model-name", "llama"), ("x-model-version", "7"))
    assert one(policy()).headers() == (("x-model-name", "llama"),)
    assert one(policy(), {"x-model-version": "spoofed"}).headers() == (("x-model-name", "llama"),)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-beta": "true"}, ("v2", "match")),
        ({"x-a": "1", "x-b": "2"}, ("v2", "match")),
        ({"x-beta": "true", "x-model-version": "v1"}, ("v2", "match")),
        ({"x-model-version": "v2"}, ("v2", "pin")),
        ({"x-model-version": "v9", "x-user-id": "ann"}, (None, "sticky")),
        ({"x-beta": "TRUE", "x-user-id": "ann"}, (None, "sticky")),
        ({"x-a": "1", "x-user-id": "ann"}, (None, "sticky")),
        ({"x-user-id": ""}, (None, "weight")),
        ({}, (None, "weight")),
    ],
)
def test_precedence_is_match_pin_sticky_weight(headers: dict[str, str], expected: tuple[str | None, str]) -> None:
    decision = one(policy(V1, BETA, sticky=Sticky(header="x-user-id"), allow_pin=True), headers)
    assert decision.cohort == expected[1]
    assert expected[0] in (None, decision.version)


def test_a_match_counts_any_of_several_values() -> None:
    snapshot = policy(V1, BETA)
    headers = Headers.of([("X-Beta", "false"), ("x-beta", "true")])
    assert decide(InferenceRequest("openai", "c", "llama"), headers, snapshot, b"e").cohort == "match"


def test_pins_count_only_where_the_policy_allows_them() -> None:
    pinned = {"x-model-version": "v2"}
    drawn = {one(policy(V1, V2), pinned, entropy=str(n)).cohort for n in range(50)}
    assert drawn == {"weight"}
    assert one(policy(V1, V2, allow_pin=True), pinned).cohort == "pin"
    assert one(policy(V1, V2, allow_pin=True), version="v2").cohort == "pin"
    assert one(policy(V1, V2), version="v2", entropy="1").cohort == "weight"


@pytest.mark.parametrize(
    ("sticky", "headers", "body_key"),
    [
        (Sticky(header="x-user-id"), {"x-user-id": "ann"}, None),
        (Sticky(cookie="session"), {"cookie": "a=b; session=ann"}, None),
        (Sticky(body=("user",)), {}, "ann"),
    ],
)
def test_a_sticky_key_decides_alone(sticky: Sticky, headers: dict[str, str], body_key: str | None) -> None:
    snapshot = policy(V1, V2, sticky=sticky)
    asked = InferenceRequest("openai", "completions", "llama")
    of = Headers.of(headers.items())
    seen = {decide(asked, of, snapshot, str(n).encode(), body_key) for n in range(50)}
    assert len(seen) == 1
    # The same key decides the same way wherever it comes from.
    chosen = policy(V1, V2).policies[0].version_hash.choose(b"ann")
    assert chosen is not None
    assert {d.version for d in seen} == {chosen.name}


def test_users_of_a_rollout_are_told_apart_and_cannot_be_recognized() -> None:
    sticky = Sticky(header="x-user-id")
    rolled_out = policy(V1, V2, sticky=sticky, rollout=RolloutPlan("v2", ()))
    users = {n: one(rolled_out, {"x-user-id": f"user {n}"}) for n in range(200)}
    assert all(len(decided.user) == 2 and ("user", decided.user) in decided.metadata() for decided in users.values())
    assert len({decided.user for decided in users.values()}) > 100
    assert users[7] == one(rolled_out, {"x-user-id": "user 7"}, entropy="f")
    for other in (one(rolled_out), one(policy(V1, V2, sticky=sticky), {"x-user-id": "user 7"})):
        assert "user" not in dict(other.metadata())


def test_without_a_key_each_request_is_drawn_anew_by_weight() -> None:
    drawn = Counter(one(policy(V1, V2), entropy=str(n)).version for n in range(5000))
    assert abs(drawn["v2"] - 500) < 3 * (5000 * 0.1 * 0.9) ** 0.5


def test_a_version_of_weight_zero_is_reached_by_match_and_pin_only() -> None:
    hidden = Version("v2", 0, match=(HeaderMatch((("x-beta", b"true"),)),))
    snapshot = policy(V1, hidden, allow_pin=True)
    assert {one(snapshot, entropy=str(n)).version for n in range(200)} == {"v1"}
    assert one(snapshot, {"x-beta": "true"}).version == "v2"
    assert one(snapshot, {"x-model-version": "v2"}).version == "v2"


@pytest.mark.parametrize(
    ("need", "pools"),
    [
        (Requirement("a100"), {"west"}),
        (Requirement("NVIDIA-H100-80GB-HBM3"), {"east"}),
        (Requirement("hopper"), {"east"}),
        (Requirement("8.0"), {"west"}),
        (Requirement("8.0+"), {"west", "east"}),
        (Requirement("", 80_000), {"west", "east"}),
        (Requirement("", 81_921), set()),
        (Requirement("b200"), set()),
    ],
)
def test_pools_that_meet_the_requirement(need: Requirement, pools: set[str]) -> None:
    snapshot = Snapshot((Policy("p", gpu=need, versions=(V1,)),), (A100, H100))
    if pools:
        decisions = [one(snapshot, entropy=str(n)) for n in range(60)]
        assert {d.pool for d in decisions} == pools
        assert all(("x-gpu-pool", d.pool) in d.headers() for d in decisions)
        assert all(("x-gpu-architecture", {"west": "a100", "east": "h100"}[d.pool]) in d.headers() for d in decisions)
    else:
        with pytest.raises(Rejected) as caught:
            one(snapshot)
        assert (caught.value.status, caught.value.code) == (503, "no_gpu_available")


def test_without_pools_the_requirement_is_announced_and_nothing_rejected() -> None:
    decision = one(Snapshot((Policy("p", gpu=Requirement("a100", 8192)),)))
    assert decision.headers() == (("x-model-name", "llama"), ("x-gpu-architecture", "a100"))


def test_ignoring_the_lack_of_a_gpu() -> None:
    snapshot = Snapshot((Policy("p", gpu=Requirement("b200"), reject_without_gpu=False, versions=(V1,)),), (A100,))
    decision = one(snapshot)
    assert (decision.version, decision.pool, decision.architecture) == ("v1", "", "b200")


def test_a_version_may_name_its_pools() -> None:
    named = Version("v2", 10, gpu_pools=("east",))
    snapshot = Snapshot((Policy("p", gpu=Requirement("8.0+"), versions=(V1, named), allow_pin=True),), (A100, H100))
    assert {one(snapshot, {"x-model-version": "v2"}, entropy=str(n)).pool for n in range(40)} == {"east"}
    assert {one(snapshot, {"x-model-version": "v1"}, entropy=str(n)).pool for n in range(40)} == {"east", "west"}


def test_pools_get_shares_by_their_endpoints_and_keep_their_users() -> None:
    snapshot = Snapshot(
        (Policy("p", gpu=Requirement("8.0+"), versions=(V1,), sticky=Sticky(header="u")),), (A100, H100)
    )
    drawn = Counter(one(snapshot, {"u": str(n)}).pool for n in range(3000))
    assert abs(drawn["east"] - 2000) < 3 * (3000 * 2 / 9) ** 0.5
    assert all(
        one(snapshot, {"u": str(n)}).pool == one(snapshot, {"u": str(n)}, entropy="other").pool for n in range(50)
    )


def test_a_default_takes_what_has_no_sticky_key() -> None:
    snapshot = policy(V1, BETA, default="v2", sticky=Sticky(header="u"), allow_pin=True)
    drawn = [one(snapshot, entropy=str(n)) for n in range(50)]
    assert {(d.version, d.cohort) for d in drawn} == {("v2", "default")}
    assert one(snapshot, {"u": ""}).cohort == "default"
    assert one(snapshot, {"u": "ann"}).cohort == "sticky"
    assert (one(snapshot, {"x-model-version": "v1"}).version, one(snapshot, {"x-beta": "true"}).cohort) == (
        "v1",
        "match",
    )


def test_without_sticky_keys_a_default_leaves_the_draw_alone() -> None:
    drawn = {(d.version, d.cohort) for d in (one(policy(V1, V2, default="v2"), entropy=str(n)) for n in range(200))}
    assert drawn == {("v1", "weight"), ("v2", "weight")}


def test_a_mirror_is_never_chosen() -> None:
    mirror = Version("v3", 0, mirror=50)
    snapshot = policy(V1, V2, mirror, allow_pin=True)
    assert {one(snapshot, entropy=str(n)).version for n in range(200)} == {"v1", "v2"}
    assert one(snapshot, {"x-model-version": "v3"}).cohort == "weight"
    alone = one(policy(V1, mirror, allow_pin=True), {"x-model-version": "v3"})
    assert (alone.version, alone.cohort) == ("v1", "default")


def test_model_rewrite_goes_with_the_version() -> None:
    snapshot = policy(Version("v2", 1, model_rewrite="llama-instruct"))
    assert one(snapshot).model_rewrite == "llama-instruct"
    assert one(snapshot).headers()[0] == ("x-model-name", "llama")


def test_headers_carry_any_model_name_safely() -> None:
    assert one(policy(V1), model="llama-é %\n").headers()[0] == ("x-model-name", "llama-%C3%A9%20%25%0A")


@given(st.text(max_size=20), st.dictionaries(st.sampled_from(["x-user-id", "x-beta", "x-model-version"]), st.text()))
def test_every_request_is_decided_one_way(model: str, headers: dict[str, str]) -> None:
    snapshot = Snapshot((Policy("p", versions=(V1, BETA), allow_pin=True, sticky=Sticky(header="x-user-id")),))
    first, second = one(snapshot, headers, model), one(snapshot, headers, model)
    assert first == second
    assert first.version in ("v1", "v2")
    assert all(value.isascii() and value.isprintable() for _, value in first.headers())


def test_load_says_where_a_version_is_served_and_never_which() -> None:
    pools = (GpuPool("west", gpu.Gpu(architecture="a100")), GpuPool("east", gpu.Gpu(architecture="a100")))
    policy = Policy("p", models=("m",), versions=(Version("v1", 3), Version("v2", 1)), gpu=Requirement("a100"))
    sticky = msgspec.structs.replace(policy, sticky=Sticky(header="x-user"))
    busy = {"west": 0.05, "east": 1.0}
    for one, headers in ((policy, Headers()), (sticky, Headers.of([("x-user", "ann")]))):
        snapshot = Snapshot((one,), pools)
        decided = [
            (
                decide(InferenceRequest("openai", "c", "m"), headers, snapshot, str(n).encode()),
                decide(InferenceRequest("openai", "c", "m"), headers, snapshot, str(n).encode(), None, busy),
            )
            for n in range(1000)
        ]
        assert all((a.version, a.cohort) == (b.version, b.cohort) for a, b in decided)
        share = sum(b.pool == "west" for _, b in decided) / len(decided)
        if one.sticky:
            assert all(a.pool == b.pool for a, b in decided), "a user stays where his cache is"
        else:
            assert share == pytest.approx(0.05 / 1.05, abs=0.03)


TWO_VERSIONS = Policy(
    "p", sticky=Sticky(header="x-user"), versions=(Version("v1", 9), Version("v2", 1), Version("v3", 0))
)


def by_user(policy: Policy, down: frozenset[str]) -> dict[str, tuple[str, str]]:
    """Version and cohort of a hundred users."""
    found = {}
    for user in map(str, range(100)):
        headers = Headers.of([("x-user", user)])
        decision = decide(InferenceRequest("openai", "chat", "m"), headers, Snapshot((policy,)), b"e", down=down)
        found[user] = decision.version, decision.cohort
    return found


def test_users_of_a_version_that_is_down_get_another_one_and_come_back() -> None:
    before, meanwhile = by_user(TWO_VERSIONS, frozenset()), by_user(TWO_VERSIONS, frozenset(["p/v1"]))
    assert {version for version, _ in before.values()} == {"v1", "v2"}
    moved = {user for user, (version, _) in before.items() if version == "v1"}
    assert {meanwhile[user] for user in moved} == {("v2", "failover")}
    assert all(meanwhile[user] == before[user] for user in before.keys() - moved)


def test_nobody_moves_where_nobody_can_serve_or_the_policy_forbids_it() -> None:
    before = by_user(TWO_VERSIONS, frozenset())
    assert by_user(TWO_VERSIONS, frozenset(["p/v1", "p/v2"])) == before
    strict = msgspec.structs.replace(TWO_VERSIONS, fails_over=False)
    assert by_user(strict, frozenset(["p/v1"])) == before


def test_users_of_a_version_without_a_target_get_another_one() -> None:
    """As where its pods have gone from the nodes of the only pool that fits: it has no cluster that may be down."""
    west = GpuPool("west", gpu.Gpu(architecture="a100"), ("10.0.0.1:80",))
    versions = (Version("v1", 1, ("10.0.0.1:80",)), Version("v2", 1, ("10.0.0.2:80",)))
    pooled = Policy("p", sticky=Sticky(header="x-user"), gpu=Requirement(), versions=versions, allow_pin=True)
    request, users = InferenceRequest("openai", "chat", "m"), [[("x-user", str(user))] for user in range(40)]

    def found(policy: Policy, *more: tuple[str, str]) -> set[str]:
        snapshot, told = Snapshot((policy,), (west,)), set()
        for user in users:
            headers = Headers.of([*user, *more])
            try:
                decision = decide(request, headers, snapshot, b"e", down=snapshot.vacant)
            except Rejected as rejected:
                told.add(rejected.code)
            else:
                told.add(f"{decision.version} {decision.cohort}")
        return told

    assert found(pooled) == {"v1 sticky", "v1 failover"}
    assert found(pooled, ("x-model-version", "v2")) == {"no_gpu_available"}
    assert found(msgspec.structs.replace(pooled, fails_over=False)) == {"v1 sticky", "no_gpu_available"}
    assert found(msgspec.structs.replace(pooled, versions=versions[1:])) == {"no_gpu_available"}


def test_a_version_that_was_asked_for_by_name_is_not_replaced() -> None:
    policy = msgspec.structs.replace(TWO_VERSIONS, allow_pin=True)
    headers = Headers.of([("x-model-version", "v1")])
    request = InferenceRequest("openai", "chat", "m")
    assert decide(request, headers, Snapshot((policy,)), b"e", down=frozenset(["p/v1"])).cohort == "pin"


@pytest.mark.parametrize(("down", "moves"), [("p/v1", "REST"), ("p/v1#grpc", "gRPC")])
def test_calls_of_grpc_have_servers_of_their_own(down: str, moves: str) -> None:
    versions = tuple(Version(name, 1, (f"{name}:1",), grpc_endpoints=(f"{name}:2",)) for name in ("v1", "v2"))
    snapshot = policy(*versions, sticky=Sticky(header="x-user"))
    request, found = InferenceRequest("oip", "infer", "llama"), dict[str, set[tuple[str, str]]]()
    users = [str(user) for user in range(50) if one(snapshot, {"x-user": str(user)}).version == "v1"]
    for protocol, kind in (("REST", "application/json"), ("gRPC", "application/grpc")):
        for user in users:
            headers = Headers.of([("x-user", user), ("content-type", kind)])
            decision = decide(request, headers, snapshot, b"e", down=frozenset([down]))
            found.setdefault(protocol, set()).add((decision.version, decision.cohort))
    other = ({"REST", "gRPC"} - {moves}).pop()
    assert found == {moves: {("v2", "failover")}, other: {("v1", "sticky")}}


def test_a_pool_that_is_down_is_passed_over() -> None:
    pools = tuple(GpuPool(name, gpu.Gpu(architecture="a100"), (f"{name}:1",)) for name in ("west", "east"))
    policy = Policy("p", sticky=Sticky(header="x-user"), gpu=Requirement(), versions=(Version("v1"),))
    headers = [Headers.of([("x-user", str(user))]) for user in range(20)]
    snapshot, request = Snapshot((policy,), pools), InferenceRequest("openai", "chat", "m")

    def chosen(*down: str) -> set[str]:
        return {decide(request, each, snapshot, b"e", down=frozenset(down)).pool for each in headers}

    assert chosen() == {"west", "east"}
    assert chosen("p/v1/west") == {"east"}
    assert chosen("p/v1/west", "p/v1/east") == {"west", "east"}


@pytest.mark.parametrize(
    ("model", "pattern", "rewrite"),
    [("llama", "llama", "tuned"), ("llama-3", "llama-*", "tuned"), ("iris", "", ""), ("", "", "")],
)
def test_a_session_goes_where_it_is_whatever_it_names(model: str, pattern: str, rewrite: str) -> None:
    snapshot = policy(V1, msgspec.structs.replace(V2, model_rewrite="tuned"))
    (target,) = snapshot.targets["p", "v2"]
    found = follow(InferenceRequest("mcp", "session", model), Place(target, "10.0.0.2:8000"), snapshot)
    assert (found.policy, found.version, found.cohort) == (snapshot.policies[0], "v2", "session")
    assert (found.pattern, found.model_rewrite, found.endpoint) == (pattern, rewrite, "10.0.0.2:8000")


def test_a_decision_at_another_pool_is_the_same_otherwise() -> None:
    asked = InferenceRequest("openai", "chat.completions", "m")
    made = Decision(asked, None, "p", "v", "c", "west", "a", "r", "e", "u")
    moved = made.at("east", "b")
    assert moved == Decision(made.request, None, "p", "v", "c", "east", "b", "r", "e", "u")
    assert moved != made
    assert moved.at("west", "a") == made
    assert {made, moved, moved.at("west", "a")} == {made, moved}
    assert "'east', 'b'" in repr(moved)
