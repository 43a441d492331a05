"""A rollout's state in a status and back, the states that follow from specs, commands in annotations."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extproc.kubernetes.rollout_in_status import (
    MAX_COMMAND,
    MAX_MESSAGE,
    MAX_MOVES,
    UNJUDGED,
    command_of,
    handled_command,
    moment,
    reconciled,
    state_of,
    time_text,
    todo,
    told,
    told_after,
    verdict_of,
    with_state,
)
from extproc.policy.rollout_plan import COMPLETED, PROGRESSING, Move, RolloutState
from extproc.policy.snapshot import Policy
from extproc.rollout.steps import PASSING, Verdict
from tests.house.tree import ROOT
from tests.manifests import schema
from tests.policy_documents import policy_of

NOW = 1_800_000_000.25
PHASES = st.sampled_from(("Progressing", "Paused", "RollingBack", "Failed", "Completed"))
TIMES = st.integers(0, 4 * 10**15).map(lambda microseconds: microseconds / 1e6)
TEXTS = st.text("ab ≤é", max_size=MAX_MESSAGE)
STATES = st.builds(
    RolloutState,
    st.just("chat"),
    st.just("v2"),
    PHASES,
    st.integers(0, 100),
    TIMES,
    st.sampled_from(("", "v1")),
    st.lists(st.builds(Move, TIMES, PHASES, st.integers(0, 100), TEXTS), max_size=MAX_MOVES).map(tuple),
)
CRD = next(iter(yaml.safe_load_all((ROOT / "istio" / "crds.yaml").read_text())))
STATUS = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


def made(to: str = "v2") -> Policy:
    names = [name for name in ("v2", "v3") if name != to]
    versions = "".join(f", {{name: {name}, weight: 0, match: [{{headers: {{x: y}}}}]}}" for name in names)
    rollout = f"rollout: {{to: {to}, guards: [{{metric: errors, max: 1%}}]}}"
    return policy_of(f"versions: [{{name: v1, weight: 3}}, {{name: {to}, weight: 0}}{versions}]\n{rollout}")


def found(status: Any = None, **annotations: str) -> dict[str, Any]:
    named = {f"ai.istio.io/{name}": value for name, value in annotations.items()}
    return {"metadata": {"name": "chat", "annotations": named}, "status": status}


@given(STATES, TEXTS)
def test_a_state_comes_back_as_it_was_and_fits_the_crd(state: RolloutState, message: str) -> None:
    status = {"rollout": told(state, Verdict(PASSING, message)), "rolloutCommand": "x" * MAX_COMMAND}
    assert state_of(found(status)) == state
    assert verdict_of(found(status)) == Verdict(PASSING, message)
    assert list(schema.problems(STATUS, status, "status")) == []


def test_of_many_moves_the_last_are_kept_and_long_texts_are_cut() -> None:
    moves = tuple(Move(float(at), PROGRESSING, at, "x" * 9999) for at in range(50))
    status = {
        "rollout": told(RolloutState("chat", "v2", PROGRESSING, 49, 49.0, "", moves), Verdict("waiting", "y" * 9999))
    }
    assert list(schema.problems(STATUS, status, "status")) == []
    state = state_of(found(status))
    assert state is not None
    assert [move.percent for move in state.moves] == list(range(40, 50))


@pytest.mark.parametrize(
    "status",
    [None, "x", {}, {"rollout": None}, {"rollout": []}, {"rollout": {"to": "v2"}}]
    + [
        {"rollout": told(RolloutState("chat", "v2", "Paused", 1, NOW)) | wrong}
        for wrong in ({"step": 101}, {"since": "2026-01-01T00:00:00"}, {"state": "x"})
    ],
)
def test_what_is_no_state_is_none(status: Any) -> None:
    assert state_of(found(status)) is None


def test_a_rollout_begins_once_somebody_serves_its_version() -> None:
    first = reconciled(made(), None, ready=False, now=NOW)
    assert first is not None
    assert (first.phase, first.percent) == (PROGRESSING, 0)
    assert reconciled(made(), first, ready=False, now=NOW + 1) is first
    begun = reconciled(made(), first, ready=True, now=NOW + 2)
    assert begun is not None
    assert (begun.percent, begun.since) == (1, NOW + 2)
    assert reconciled(made(), begun, ready=False, now=NOW + 3) is begun, "who loses its last server keeps its share"
    assert reconciled(policy_of("versions: [{name: v1}]"), begun, ready=True, now=NOW) is None


@pytest.mark.parametrize("ready", [True, False])
def test_what_was_completed_serves_on_while_the_next_one_begins(ready: bool) -> None:
    state = reconciled(made("v3"), RolloutState("chat", "v2", COMPLETED, 100, NOW), ready=ready, now=NOW)
    weights = {version.name: version.weight for version in with_state(made("v3"), state).versions}
    assert weights == ({"v1": 0, "v2": 99, "v3": 1} if ready else {"v1": 0, "v2": 1, "v3": 0})
    if not ready:
        begun = reconciled(made("v3"), state, ready=True, now=NOW)
        assert begun is not None
        assert begun.serving == "v2"


def test_a_verdict_stays_with_its_state_only() -> None:
    state = RolloutState("chat", "v2", PROGRESSING, 5, NOW)
    before = found({"rollout": told(state, Verdict(PASSING, "fine"))})
    assert told_after(before, state) == before["status"]["rollout"]
    assert told_after(before, RolloutState("chat", "v2", PROGRESSING, 25, NOW))["verdict"] == "waiting"
    assert verdict_of(found()) == UNJUDGED


def test_what_is_left_to_people() -> None:
    completed = RolloutState("chat", "v2", COMPLETED, 100, NOW)
    assert todo(made(), completed).startswith("write v1 weight: 0, v2 weight: 100")
    assert todo(made(), RolloutState("chat", "v2", PROGRESSING, 100, NOW)) == ""


def test_commands() -> None:
    assert command_of(found(rollout="pause")) == "pause"
    assert len(command_of(found(rollout="x" * 999))) == MAX_COMMAND
    assert command_of(found()) == command_of({"metadata": {"annotations": None}}) == ""
    assert handled_command(found({"rolloutCommand": "pause"})) == "pause"
    assert handled_command(found()) == ""


@given(TIMES)
def test_times(at: float) -> None:
    assert moment(time_text(at)) == at
