"""Looks: what is measured of a step, which query is asked, what an answer counts for. Drivers' tests have more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from extproc.policy.rollout_plan import Guard, RolloutPlan
from extproc.policy.snapshot import Policy, Version
from extproc.rollout import guards
from extproc.rollout.evidence import VersionEvidence
from extproc.rollout.looks import RolloutLooks
from extproc.rollout.steps import FAILING, PASSING, WAITING, begin, in_force

ERRORS = RolloutPlan("v2", (Guard("errors", maximum=0.01),), interval=3.0, min_requests=50)
QUERY = RolloutPlan("v2", (Guard(promql="q", minimum=0.8),), interval=10.0)


def policy(plan: RolloutPlan) -> Policy:
    made = Policy("chat", versions=(Version("v1"), Version("v2", 0)), rollout=plan)
    return in_force(made, begin(made, plan, None, 100.0))


class Looking:
    """Looks at one policy, a second after the other."""

    def __init__(self, plan: RolloutPlan) -> None:
        self.policy, self.now = policy(plan), 100.0
        self.asked: list[tuple[str, Any]] = []
        self.said: list[str] = []
        self.looks = RolloutLooks(self.ask, lambda text, _=None: self.said.append(text))

    def ask(self, base: str, query: str) -> Any:
        question = SimpleNamespace(answered=False, value=None, problem="")
        self.asked.append((f"{base} {query}", question))
        return question

    def look(self, requests: int = 0, failures: int = 0, unheard: str = "") -> tuple[int, str, str]:
        self.now += 1.0
        self.looks.begin([self.policy], unheard, self.now)
        state = self.policy.rollout_state
        assert state is not None
        fresh = {"v2": VersionEvidence(requests, failures, requests)} if requests else {}
        after, verdict = self.looks.look(self.policy.rollout, state, fresh, self.now)
        return after.percent, verdict.word, verdict.reason


def test_a_step_ends_when_its_time_and_its_requests_are_over() -> None:
    looking = Looking(ERRORS)
    assert looking.look()[:2] == (1, WAITING)
    assert looking.look(40)[:2] == (1, WAITING)
    assert looking.look(40)[:2] == (1, PASSING)
    assert looking.look()[:2] == (5, PASSING)
    assert looking.looks.steps["chat"].versions["v2"].requests == 80


def test_time_in_which_not_all_are_heard_does_not_count_and_brings_no_verdict() -> None:
    looking = Looking(ERRORS)
    looking.look()
    for _ in range(9):
        assert looking.look(50, 0, "somebody is silent") == (1, WAITING, "somebody is silent")
    assert looking.looks.steps["chat"].measured == 0
    assert looking.look()[:2] == (1, PASSING)


def test_what_those_who_are_heard_show_to_be_broken_is_broken_and_the_silent_one_is_named() -> None:
    looking = Looking(ERRORS)
    looking.look()
    assert looking.look(50, 50, "a is silent") == (0, FAILING, "errors ≤ 1%: 100% of 50 requests of v2; a is silent")


def test_a_look_that_fails_says_so_until_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(ERRORS)
    with monkeypatch.context() as broken:
        broken.setattr(guards, "judge", lambda *_: 1 // 0)
        for _ in range(3):
            _, word, text = looking.look()
            assert (word, looking.looks.steps["chat"].fault) == (WAITING, text)
    assert text.startswith("it could not be looked at: ZeroDivisionError: ")
    assert looking.said == [f"the rollout of chat stays as it is: {text}"]
    looking.look()
    assert looking.looks.steps["chat"].fault == ""


def test_a_query_is_asked_one_at_a_time_and_its_answer_is_of_the_step_for_which_it_was_asked() -> None:
    looking = Looking(QUERY)
    looking.look()
    looking.look()
    ((asked, question),) = looking.asked
    assert asked == "http://localhost:9090 q"
    question.value, question.answered = 0.9, True
    assert looking.look() == (1, PASSING, "every guard holds")
    _, late = looking.asked[1]
    state = looking.policy.rollout_state
    assert state is not None
    made = Policy("chat", versions=(Version("v1"), Version("v2", 0)), rollout=QUERY)
    looking.policy = in_force(made, begin(made, QUERY, None, looking.now))
    late.problem, late.answered = "nobody there", True
    assert looking.look()[1] == WAITING
    assert looking.said == ["the guard q ≥ 0.8 of chat has no value: nobody there"]
