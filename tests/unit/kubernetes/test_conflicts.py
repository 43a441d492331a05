"""Oldest first: who gets what only one policy can have, and what is said to the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import PolicyProblems
from extproc.kubernetes.conflicts import Candidate, Contender, decide
from tests import fast_yaml
from tests.policy_documents import load_texts


def candidate(name: str, spec: dict[str, Any], namespace: str = "ai") -> Candidate:
    return Candidate(document_policy(name, spec, namespace), spec)


def document_policy(name: str, spec: dict[str, Any], namespace: str) -> Any:
    return load_texts([("a.yaml", fast_yaml.dump(document(name, spec, namespace)))]).snapshot.policies[0]


def document(name: str, spec: dict[str, Any], namespace: str = "ai") -> dict[str, Any]:
    head = {"apiVersion": "ai.istio.io/v1alpha1", "kind": "ModelInferencePolicy"}
    return {**head, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def contender(name: str, spec: dict[str, Any], created: int = 1, namespace: str = "ai", **more: Any) -> Contender:
    return Contender(namespace, name, f"2026-01-01T00:00:{created:02}Z", candidate(name, spec, namespace), **more)


def said(contenders: list[Contender], *, one_port_a_host: bool = False) -> dict[str, list[str]]:
    verdicts = decide(contenders, one_port_a_host=one_port_a_host)
    return {f"{ns}/{name}": [f"{p.path}: {p.message}" for p in v.conflicts] for (ns, name), v in verdicts.items()}


def test_the_older_keeps_the_model() -> None:
    old, new = contender("old", {"models": ["a", "b"]}, 1), contender("new", {"models": ["c", "b"]}, 2)
    verdicts = decide([new, old], one_port_a_host=False)
    assert verdicts["ai", "old"].chosen == old.wanted
    lost = verdicts["ai", "new"]
    assert lost.chosen is None
    (problem,) = lost.conflicts
    assert str(problem) == (
        'ai/new: error: spec.models[1]: the models "b" are the policy ai/old\'s, which is older; '
        "give each policy models of its own"
    )


def test_of_the_same_second_the_first_by_namespace_and_name() -> None:
    found = said(
        [contender("a", {}, namespace="b"), contender("b", {}, namespace="a"), contender("a", {}, namespace="a")]
    )
    assert found["a/a"] == []
    message = 'spec.models: the models "*" (what a policy without models owns) are the policy a/a\'s, which is older'
    assert found["a/b"] == [message]
    assert found["b/a"] == ["metadata.name: the name a is the policy a/a's, which is older", message]


def test_who_lost_against_a_loser_has_lost_nothing() -> None:
    first, second = contender("a", {"models": ["x"]}, 1), contender("b", {"models": ["x", "y"]}, 2)
    third = contender("c", {"models": ["y"]}, 3)
    assert [bool(v) for v in said([first, second, third]).values()] == [False, True, False]


def test_a_change_that_lost_leaves_what_was_in_force() -> None:
    before = candidate("new", {"models": ["c"]})
    old = contender("old", {"models": ["a"]}, 1)
    verdict = decide([old, contender("new", {"models": ["a", "c"]}, 2, in_force=before)], one_port_a_host=False)
    assert verdict["ai", "new"].chosen == before
    assert len(verdict["ai", "new"].conflicts) == 1


def test_what_was_in_force_goes_when_an_older_one_takes_it() -> None:
    before = candidate("new", {"models": ["c"]})
    old = contender("old", {"models": ["a", "c"]}, 1)
    verdict = decide([old, contender("new", {"models": ["c"]}, 2, in_force=before)], one_port_a_host=False)
    assert verdict["ai", "new"].chosen is None


def test_a_spec_that_is_wrong_by_itself_leaves_what_was_in_force_its_place() -> None:
    before = candidate("old", {"models": ["a"]})
    wrong = Contender("ai", "old", "2026-01-01T00:00:01Z", None, before)
    verdict = decide([wrong, contender("new", {"models": ["a"]}, 2)], one_port_a_host=False)
    assert verdict["ai", "old"].chosen == before
    assert verdict["ai", "old"].conflicts == ()
    assert verdict["ai", "new"].chosen is None


METRIC = {"name": "shed_total", "type": "GAUGE", "source": {"header": "x-shed"}}


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        (
            {"onUnreadable": "pass"},
            {"onUnreadable": "reject"},
            "spec.onUnreadable: the policy ai/a, which is older, has",
        ),
        ({"onUnreadable": "reject"}, {}, ""),
        ({"onUnreadable": "reject"}, {"onUnreadable": "reject"}, ""),
        ({"observability": {"customMetrics": [METRIC]}}, {"observability": {"customMetrics": [METRIC]}}, ""),
        (
            {"observability": {"customMetrics": [METRIC]}},
            {"observability": {"customMetrics": [{**METRIC, "source": {"header": "x-other"}}]}},
            "spec.observability.customMetrics[0]: the metric shed_total is another one in the policy ai/a, which",
        ),
        (
            {"observability": {"customMetrics": [METRIC]}},
            {"observability": {"customMetrics": [{"name": "shed", "type": "COUNTER", "source": {"header": "x"}}]}},
            "spec.observability.customMetrics[0]: Prometheus would mix up shed and a metric of the policy ai/a, which",
        ),
        ({"models": ["{x}"]}, {"models": ["{x}"]}, 'spec.models[0]: the models "{x}" are the policy ai/a\'s, which'),
    ],
)
def test_what_policies_can_disagree_on(first: dict[str, Any], second: dict[str, Any], conflict: str) -> None:
    found = said([contender("a", {"models": ["a"], **first}, 1), contender("b", {"models": ["b"], **second}, 2)])
    assert found["ai/a"] == []
    assert [text.startswith(conflict) for text in found["ai/b"]] == [True] * bool(conflict)


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ({"host": "chat"}, {"host": "chat.ai.svc.cluster.local", "port": 81}, "spec.port: the policy ai/a, which is"),
        ({"host": "chat"}, {"host": "chat.ai", "selector": {"matchLabels": {"app": "x"}}}, ""),
        (
            {"host": "chat", "selector": {"matchLabels": {"app": "y"}}},
            {"host": "chat", "selector": {"matchLabels": {"app": "x"}}},
            "spec.selector: the policy ai/a, which is older, has another for the host chat.ai",
        ),
    ],
)
def test_one_host_on_linkerd(first: dict[str, Any], second: dict[str, Any], conflict: str) -> None:
    both = [contender("a", {"models": ["a"], **first}, 1), contender("b", {"models": ["b"], **second}, 2)]
    assert said(both)["ai/b"] == []
    found = said(both, one_port_a_host=True)["ai/b"]
    assert [text.startswith(conflict) for text in found] == [True] * bool(conflict)


SPECS = st.fixed_dictionaries(
    {"models": st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True)},
    optional={
        "onUnreadable": st.sampled_from(["pass", "reject"]),
        "observability": st.sampled_from(
            [{"customMetrics": [METRIC]}, {"customMetrics": [{**METRIC, "source": {"header": "x"}}]}]
        ),
    },
)


@given(st.lists(st.tuples(SPECS, st.integers(0, 2)), max_size=6))
def test_what_is_chosen_agrees_and_what_is_not_would_not(drawn: list[tuple[dict[str, Any], int]]) -> None:
    """Against the checks of policy files: the chosen ones have no problem together; each loser has one with them."""
    contenders = [contender(f"p{i}", spec, created) for i, (spec, created) in enumerate(drawn)]
    verdicts = decide(contenders, one_port_a_host=False)
    chosen = {key: v.chosen for key, v in verdicts.items() if v.chosen}
    texts = [fast_yaml.dump(document(key[1], dict(c.spec))) for key, c in chosen.items()]
    for key, verdict in verdicts.items():
        assert (verdict.chosen is None) == bool(verdict.conflicts)
        if verdict.chosen is None:
            loser = fast_yaml.dump(document(key[1], drawn[int(key[1][1:])][0]))
            with pytest.raises(PolicyProblems):
                load_texts([(f"{i}.yaml", text) for i, text in enumerate([*texts, loser])])
    if texts:
        load_texts([(f"{i}.yaml", text) for i, text in enumerate(texts)])
