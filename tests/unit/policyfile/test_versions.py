"""Versions of a policy: what they say, and weights and matches that contradict each other."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import HeaderMatch, Version
from tests.policy_documents import found, policy, policy_of, said


def test_a_version_that_says_everything() -> None:
    spec = """
    versions:
    - {name: v1, weight: 90, endpoints: ["127.0.0.1:9001", "localhost:9002"]}
    - name: v2
      weight: 0
      modelRewrite: llama-3-8b-instruct
      match:
      - {headers: {X-Beta: "true", x-a: b}}
      - headers: {x-beta: "1"}
    """
    assert policy_of(spec).versions == (
        Version("v1", 90, ("127.0.0.1:9001", "localhost:9002")),
        Version(
            "v2",
            0,
            model_rewrite="llama-3-8b-instruct",
            match=(HeaderMatch((("x-a", b"b"), ("x-beta", b"true"))), HeaderMatch((("x-beta", b"1"),))),
        ),
    )


def test_a_single_version_needs_no_weight() -> None:
    assert policy_of("versions: [{name: v1}]").versions == (Version("v1", 1),)


def test_versions_without_any_weight_share_equally_and_that_is_doubted() -> None:
    (problem,) = found(policy("versions: [{name: v1}, {name: v2}]"))
    assert said(problem) == (
        "warning 5 spec.versions: no version has a weight: they share equally; give each one a weight"
    )


@pytest.mark.parametrize("weight", ["0", "1", "1000000"])
def test_weights_may_be(weight: str) -> None:
    versions = policy_of(
        f"versions: [{{name: v1, weight: 1}}, {{name: v2, weight: {weight}}}]\nallowPin: true"
    ).versions
    assert versions[1].weight == int(weight)


@pytest.mark.parametrize(
    ("version", "start"),
    [
        ("{weight: 1}", "7 spec.versions[1]: has no name; name the version: name: v1"),
        ("{name: a b, weight: 1}", '7 spec.versions[1].name: "a b" is not allowed; give 1 to 63 letters'),
        ("{name: 2.0, weight: 1}", "7 spec.versions[1].name: 2.0 is a number in YAML, not a text; put it in quotes"),
        ("{name: v1, weight: 1}", "7 spec.versions[1].name: the version v1 is there already, on line 6"),
        ("{name: v2, weight: -1}", "7 spec.versions[1].weight: -1 is out of range; give a number from 0 to 1000000"),
        ("{name: v2, weight: 1000001}", "7 spec.versions[1].weight: 1000001 is out of range"),
        ("{name: v2, weight: 1.5}", '7 spec.versions[1].weight: "1.5" is not a whole number'),
        ("{name: v2, weight: 10%}", '7 spec.versions[1].weight: "10%" is not a whole number'),
        (
            "{name: v2}",
            "7 spec.versions[1]: has no weight, and other versions have one; give each one a weight; weight: 0 where",
        ),
        ("{name: v2, wieght: 1}", '7 spec.versions[1].wieght: is not a known field; did you mean "weight"?'),
        ("{name: v2, weight: 1, wait: 1}", '7 spec.versions[1].wait: is not a known field; did you mean "weight"?'),
        ("{name: v2, weight: 1, endpoints: []}", "7 spec.versions[1].endpoints: is an empty list"),
        ("{name: v2, weight: 1, endpoints: ['a:1', 'a:1']}", "7 spec.versions[1].endpoints[1]: the same endpoint as"),
        ("{name: v2, weight: 1, endpoints: ['http://a']}", '7 spec.versions[1].endpoints[0]: "http://a" has a scheme'),
        ("{name: v2, weight: 1, modelRewrite: ''}", "7 spec.versions[1].modelRewrite: is empty"),
        ("{name: v2, weight: 1, modelRewrite: 'a*'}", '7 spec.versions[1].modelRewrite: "a*" is a pattern'),
        ("{name: v2, weight: 1, gpuPools: []}", "7 spec.versions[1].gpuPools: is an empty list"),
        (
            "{name: v2, weight: 1, match: {headers: {a: b}}}",
            "7 spec.versions[1].match: is not a list; write a list: [{headers: {x-name: value}}]",
        ),
        ("{name: v2, weight: 1, match: []}", "7 spec.versions[1].match: is an empty list"),
        ("{name: v2, weight: 1, match: [{}]}", "7 spec.versions[1].match[0]: has no headers"),
        ("{name: v2, weight: 1, match: [{headers: {}}]}", "7 spec.versions[1].match[0].headers: names no header"),
        (
            "{name: v2, weight: 1, match: [{headers: {x-beta: true}}]}",
            "7 spec.versions[1].match[0].headers.x-beta: true is a truth value in YAML, not a text; put it in",
        ),
        (
            "{name: v2, weight: 1, match: [{headers: {X-Model-Version: v2}}]}",
            "7 spec.versions[1].match[0].headers.X-Model-Version: x-model-version is set by the processor",
        ),
        (
            "{name: v2, weight: 1, match: [{headers: {':path': a}}]}",
            '7 spec.versions[1].match[0].headers[":path"]: ":path" is not the name of a header',
        ),
        (
            "{name: v2, weight: 1, match: [{headers: {a: b, A: c}}]}",
            "7 spec.versions[1].match[0].headers.A: the header a is there already (case does not matter)",
        ),
        (
            "{name: v2, weight: 1, match: [{headers: {a: b}}, {headers: {A: b}}]}",
            "7 spec.versions[1].match[1]: the same match as on line 7",
        ),
        ("v2", "7 spec.versions[1]: is not a mapping"),
        ("{name: v2, mirror: 0}", "7 spec.versions[1].mirror: 0 is out of range; give a number from 1 to 100"),
        ("{name: v2, mirror: 10%}", '7 spec.versions[1].mirror: "10%" is not a whole number; give a whole number'),
        (
            "{name: v2, mirror: 5, weight: 0}",
            "7 spec.versions[1].weight: a mirror has no share of the requests: it gets copies; remove weight, or",
        ),
        ("{name: v2, mirror: 5, match: [{headers: {a: b}}]}", "7 spec.versions[1].match: a mirror is never chosen"),
        (
            "{name: v2, mirror: 5, modelRewrite: m}",
            "7 spec.versions[1].modelRewrite: a mirror gets the very request that the answering version gets; remove",
        ),
    ],
)
def test_what_can_be_wrong_in_a_version(version: str, start: str) -> None:
    (problem,) = found(policy(f"versions:\n- {{name: v1, weight: 1}}\n- {version}"))
    assert said(problem).startswith(start)


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ("versions: []", "5 spec.versions: is an empty list"),
        ("versions: {v1: 1}", "5 spec.versions: is not a list"),
        (
            "versions: [{name: v1, weight: 0}, {name: v2, weight: 0}]\nallowPin: true",
            "5 spec.versions: every weight is 0",
        ),
        (
            (
                "versions:\n- {name: v1, weight: 1, match: [{headers: {a: b}}]}\n"
                "- {name: v2, weight: 1, match: [{headers: {c: d}}, {headers: {A: b}}]}"
            ),
            "7 spec.versions[1].match[1]: the version v1 has the same match and comes first; remove one of the two",
        ),
        (
            "versions:\n- {name: v1, weight: 1}\n- {name: v2, weight: 0}",
            "warning 7 spec.versions[1]: nothing can choose the version v2: its weight is 0; give it",
        ),
        (
            "versions: [{name: v1, mirror: 5}]",
            "5 spec.versions: every version is a mirror: nobody answers the clients; declare a version that answers",
        ),
        (
            "versions: [{name: none}]",
            "warning 5 spec.versions[0].name: metrics use the word none for what has no version",
        ),
    ],
)
def test_what_can_be_wrong_among_versions(spec: str, start: str) -> None:
    (problem,) = found(policy(spec))
    assert said(problem).startswith(start)


def test_a_weight_of_zero_is_for_a_match_or_a_pin() -> None:
    versions = "versions: [{name: v1, weight: 1}, {name: v2, weight: 0"
    assert found(policy(versions + ", match: [{headers: {a: b}}]}]")) == []
    assert found(policy(versions + "}]\nallowPin: true")) == []


def test_a_mirror_has_no_weight_and_asks_none_of_others() -> None:
    spec = "versions: [{name: v1}, {name: v2, mirror: 100, endpoints: ['a:1']}]"
    assert policy_of(spec).versions == (Version("v1", 1), Version("v2", 0, ("a:1",), mirror=100))
    weighted = "versions: [{name: v1, weight: 9}, {name: v2, weight: 1}, {name: v3, mirror: 1}]"
    assert [v.weight for v in policy_of(weighted).versions] == [9, 1, 0]


def test_every_version_without_a_weight_is_named() -> None:
    spec = "versions:\n- name: v1\n- {name: v2, weight: 1}\n- name: v3"
    assert [(p.line, p.path) for p in found(policy(spec))] == [(6, "spec.versions[0]"), (8, "spec.versions[2]")]


def test_policies_may_use_the_same_version_names() -> None:
    spec = "models: [{}]\nversions: [{{name: v1}}]"
    assert found(policy(spec.format("a")), policy(spec.format("b"), name="other-policy")) == []


def test_the_endpoints_of_an_inference_pool_are_known_to_who_watches_it() -> None:
    spec = "versions: [{name: v1, inferencePool: {name: llama, matchLabels: {version: v1}}}]"
    (problem,) = found(policy(spec))
    assert said(problem).startswith("warning 5 spec.versions[0].inferencePool: is known to a processor that watches it")
    assert "--inference-pool NAMESPACE/llama" in problem.remedy


@pytest.mark.parametrize(
    ("version", "start"),
    [
        ("{inferencePool: llama}", "spec.versions[0].inferencePool: "),
        ("{inferencePool: {}}", "spec.versions[0].inferencePool: has no name"),
        ("{inferencePool: {name: A}}", 'spec.versions[0].inferencePool.name: "A" is not allowed'),
        ("{inferencePool: {name: a, matchLabels: {a: 'b c'}}}", "spec.versions[0].inferencePool.matchLabels.a: "),
        ("{inferencePool: {name: a, labels: {}}}", "spec.versions[0].inferencePool.labels: is not a known field"),
        ("{inferencePool: {name: a}, endpoints: ['a:1']}", "spec.versions[0].inferencePool: says what the endpoints"),
        ("{inferencePool: {name: a}, grpcEndpoints: ['a:1']}", "spec.versions[0].inferencePool: says what the end"),
        ("{inferencePool: {name: a}, mirror: 5}", "spec.versions[0].inferencePool: a mirror gets its copies"),
    ],
)
def test_what_an_inference_pool_is_not(version: str, start: str) -> None:
    wrong = [problem for problem in found(policy(f"versions: [{{name: v1, {version[1:]}]")) if not problem.warning]
    assert f"{wrong[0].path}: {wrong[0].message}".startswith(start)
