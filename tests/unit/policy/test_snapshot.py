"""The snapshot: which policy owns a model, and which targets a version has."""

from __future__ import annotations

import re
from fnmatch import translate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.custom_metric import CustomMetric, Source
from extproc.policy.gpu import Requirement, describe
from extproc.policy.picking import LEAST_LOADED, PREFIX, Picking
from extproc.policy.snapshot import (
    DEFAULT_BODY_LIMIT,
    GpuPool,
    HeaderMatch,
    ModelMatch,
    Objective,
    Policy,
    RetryBudget,
    Slo,
    Snapshot,
    Sticky,
    Version,
)
from extproc.policy.target import Target

A100 = GpuPool("a100-west", describe("NVIDIA-A100-SXM4-80GB"), ("10.0.0.1:8000", "10.0.0.2:8000"))
L4 = GpuPool("l4-east", describe("NVIDIA-L4"), ("10.0.0.3:8000",))
BARE = GpuPool("bare", describe("NVIDIA-H100-80GB-HBM3"))


def owner(model: str, *patterns: tuple[str, ...]) -> str | None:
    """The pattern that owns ``model`` among policies with ``patterns``."""
    snapshot = Snapshot(tuple(Policy(f"p{i}", models=models) for i, models in enumerate(patterns)))
    match = snapshot.match(model)
    return f"{match.policy.name} {match.pattern}" if match else None


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("llama-3-8b", "p1 llama-3-8b"),
        ("llama-3-8b-instruct", "p1 llama-3-8b-*"),
        ("llama-3-70b", "p0 llama-*"),
        ("mistral", "p2 *"),
        ("", "p2 *"),
    ],
)
def test_exact_before_glob_and_the_longest_glob_first(model: str, found: str) -> None:
    assert owner(model, ("llama-*",), ("llama-3-8b", "llama-3-8b-*"), ("*",)) == found


def test_of_globs_of_one_length_the_first_wins() -> None:
    assert owner("ab", ("a*",), ("*b",)) == "p0 a*"
    assert owner("ab", ("*b",), ("a*",)) == "p0 *b"


def test_a_model_that_nobody_owns() -> None:
    assert owner("mistral", ("llama-*",)) is None
    assert Snapshot().match("mistral") is None


def test_patterns_stand_in_the_order_in_which_they_are_tried() -> None:
    snapshot = Snapshot((Policy("a", models=("*", "x", "llama-*")), Policy("b", models=("y", "llama-3-*"))))
    assert [m.pattern for m in snapshot.patterns] == ["x", "y", "llama-3-*", "llama-*", "*"]


def only_stars(pattern: str) -> re.Pattern[str]:
    """The pattern for fnmatch, everything but ``*`` taken as it stands."""
    return re.compile(translate(re.sub(r"([\[?])", r"[\1]", pattern)))


@given(st.text("ab*?[]", max_size=8), st.text("ab?[]", max_size=8))
def test_globs_match_as_fnmatch_has_it_but_only_the_star_is_special(pattern: str, model: str) -> None:
    assert bool(owner(model, (pattern,))) is bool(only_stars(pattern).match(model))


@pytest.mark.parametrize(
    ("pattern", "model", "matches"),
    [
        # Each part is looked for behind the one before it, and none reaches into the tail.
        ("*a*a*", "a", False),
        ("*a*a*", "aa", True),
        ("*ab*ba*", "aba", False),
        ("*ab*ba*", "abba", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*b", "ab", False),
        ("a*b*b", "abb", True),
        ("x*aba*ab*y", "xabaaby", True),
        ("x*aba*ab*y", "xababy", False),
        ("a*ab*a", "aba", False),
        ("a*ab*a", "aaba", True),
        ("a*ba*a", "aba", False),
        ("a**b", "ab", True),
        ("a*b*c", "acb", False),
    ],
)
def test_the_parts_of_a_glob_follow_each_other(pattern: str, model: str, matches: bool) -> None:
    assert bool(owner(model, (pattern,))) is matches


@given(st.text(), st.text(), st.text())
def test_a_star_stands_for_any_text(head: str, middle: str, tail: str) -> None:
    head, tail = head.replace("*", ""), tail.replace("*", "")
    assert owner(head + middle + tail, (f"{head}*{tail}",))


def targets(policy: Policy, *pools: GpuPool) -> list[tuple[str, str, tuple[str, ...]]]:
    snapshot = Snapshot((policy,), pools)
    assert set(snapshot.targets) == {(policy.name, v.name) for v in policy.versions} or {(policy.name, "")}
    found: list[Target] = [target for places in snapshot.targets.values() for target in places]
    assert all(target.policy == policy.name for target in found)
    return [(target.version, target.pool, target.endpoints) for target in found]


def policy(*versions: Version, gpu: Requirement | None = None, reject: bool = True) -> Policy:
    return Policy("p", host="home", port=80, versions=versions, gpu=gpu, reject_without_gpu=reject)


ANY = Requirement()
HOME = ("home:80",)


@pytest.mark.parametrize(
    ("policy", "pools", "found"),
    [
        (policy(), [], [("", "", HOME)]),
        (policy(gpu=Requirement("a100")), [], [("", "", HOME)]),
        (policy(), [A100], [("", "", HOME)]),
        (policy(gpu=ANY), [A100, L4], [("", "a100-west", A100.endpoints), ("", "l4-east", L4.endpoints)]),
        (policy(gpu=ANY), [BARE], [("", "bare", HOME)]),
        (policy(gpu=Requirement("a100")), [A100, L4], [("", "a100-west", A100.endpoints)]),
        (policy(gpu=Requirement("h200")), [A100, L4], []),
        (policy(gpu=Requirement("h200"), reject=False), [A100], [("", "", HOME)]),
        (policy(Version("v1", endpoints=("a:1",))), [], [("v1", "", ("a:1",))]),
        (policy(Version("v1", endpoints=("a:1",)), gpu=ANY), [BARE], [("v1", "bare", ("a:1",))]),
        (
            policy(Version("v1", endpoints=("a:1", "10.0.0.2:8000")), gpu=ANY),
            [A100, L4],
            [("v1", "a100-west", ("10.0.0.2:8000",))],
        ),
        (policy(Version("v1", endpoints=("a:1",)), gpu=ANY), [A100, L4], []),
        (policy(Version("v1", endpoints=("a:1",)), gpu=ANY, reject=False), [A100], [("v1", "", ("a:1",))]),
        (policy(Version("v1", gpu_pools=("l4-east",))), [A100, L4], [("v1", "l4-east", L4.endpoints)]),
        (policy(Version("v1", gpu_pools=("l4-east",)), gpu=Requirement("a100")), [A100, L4], []),
        (
            policy(Version("v1", gpu_pools=("l4-east",)), Version("v2", gpu_pools=("a100-west",))),
            [A100, L4],
            [("v1", "l4-east", L4.endpoints), ("v2", "a100-west", A100.endpoints)],
        ),
    ],
)
def test_where_a_version_can_go(
    policy: Policy, pools: list[GpuPool], found: list[tuple[str, str, tuple[str, ...]]]
) -> None:
    assert targets(policy, *pools) == found


def test_the_body_limit_is_the_largest_of_any_policy() -> None:
    assert Snapshot().body_limit == DEFAULT_BODY_LIMIT
    assert Snapshot((Policy("a", body_limit=5), Policy("b", body_limit=7))).body_limit == 7


def test_things_are_found_by_name() -> None:
    versions = (Version("v1"), Version("v2", model_rewrite="x"))
    snapshot = Snapshot((Policy("a"), Policy("b", versions=versions)), (A100, L4))
    assert snapshot.by_name == {"a": snapshot.policies[0], "b": snapshot.policies[1]}
    assert snapshot.pool_by_name == {"a100-west": A100, "l4-east": L4}
    assert snapshot.by_name["b"].by_name == {"v1": versions[0], "v2": versions[1]}
    assert (snapshot.by_name["a"].rewrites_model, snapshot.by_name["b"].rewrites_model) == (False, True)


@pytest.mark.parametrize(
    "value",
    [
        *(A100, HeaderMatch(()), Version("v"), Sticky(header="a"), RetryBudget(0.2, 10), Objective(1.0, 99.0), Slo()),
        *(Policy("p"), Target("p", "v", "", ()), ModelMatch(Policy("p"), "*"), Snapshot()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_in_a_snapshot_changes(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], "other")


def test_defaults() -> None:
    policy, version = Policy("p"), Version("v")
    assert (policy.port, policy.models, policy.body_limit, policy.sampling) == (8080, ("*",), 8 << 20, None)
    assert (policy.allow_pin, policy.reject_without_gpu, policy.reject_unreadable) == (False, True, False)
    assert (policy.timeout, policy.retry_budget, policy.slo, policy.sticky, policy.gpu) == (None,) * 5
    assert (version.weight, version.mirror, version.gpu_pools) == (1, 0, None)
    assert (Slo().days, Slo().availability, Slo().first_token, Slo().duration) == (30, None, None, None)
    assert Snapshot().generation == 1


def test_response_headers_of_custom_metrics() -> None:
    by_header, per_header = Source(header="x-hits"), Source(header="x-all")
    metrics = (CustomMetric("a", "GAUGE", (), by_header, per_header), CustomMetric("b", "COUNTER", (), by_header))
    assert Policy("p", custom_metrics=(*metrics, CustomMetric("c", "COUNTER"))).metric_headers == {"x-hits", "x-all"}
    assert Policy("p", custom_metrics=(CustomMetric("c", "COUNTER"),)).metric_headers == set()


def test_mirrors_answer_nobody() -> None:
    policy = Policy("p", versions=(Version("v1"), Version("v2", 0, mirror=5)))
    assert ([v.name for v in policy.answering], [v.name for v in policy.mirrors]) == (["v1"], ["v2"])
    assert list(policy.by_name) == ["v1"]
    assert {v.name for v in (policy.version_hash.choose(str(n).encode()) for n in range(50)) if v} == {"v1"}


def test_bodies_are_read_where_a_policy_needs_a_sticky_key_or_a_prompt_from_them() -> None:
    of_body, of_header = Policy("a", sticky=Sticky(body=("user",))), Policy("b", sticky=Sticky(header="x-user"))
    assert Snapshot((of_header, of_body)).reads_bodies
    assert Snapshot((of_header, Policy("c", picking=Picking(by=PREFIX)))).reads_bodies
    assert not Snapshot((of_header, Policy("c", picking=Picking(by=LEAST_LOADED)))).reads_bodies


def test_prefixes_of_all_policies_the_longest_first() -> None:
    policies = (Policy("a", path_prefixes=("/b", "/team-a")), Policy("b", path_prefixes=("/a", "/b")))
    assert Snapshot(policies).path_prefixes == ("/team-a", "/a", "/b")


def test_unknown_pools_of_a_version_are_left_out() -> None:
    assert targets(policy(Version("v1", gpu_pools=("gone", "l4-east"))), L4) == [("v1", "l4-east", L4.endpoints)]
    assert targets(policy(Version("v1", gpu_pools=("gone",))), L4) == [("v1", "", HOME)]


@pytest.mark.parametrize(
    ("of_pool", "allowed", "of_policy", "is_open"),
    [
        ("", (), "ai", True),
        ("ai", (), "", True),
        ("ai", (), "ai", True),
        ("ai", (), "shop", False),
        ("ai", ("team",), "shop", False),
        ("ai", ("team", "shop"), "shop", True),
        ("ai", ("*",), "shop", True),
    ],
)
def test_a_pool_serves_policies_of_its_namespace_and_of_those_that_it_allows(
    of_pool: str, allowed: tuple[str, ...], of_policy: str, is_open: bool
) -> None:
    pool = msgspec.structs.replace(A100, namespace=of_pool, allowed_namespaces=allowed)
    assert pool.is_open_to(of_policy) == is_open
    for version, gpu in ((Version("v1", gpu_pools=(A100.name,)), None), (Version("v1"), Requirement("a100"))):
        policy = Policy("chat", namespace=of_policy, host="chat", versions=(version,), gpu=gpu)
        (target,) = Snapshot((policy,), (pool,)).targets["chat", "v1"]
        assert target.pool == (A100.name if is_open else "")
