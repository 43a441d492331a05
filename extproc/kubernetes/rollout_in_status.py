"""A rollout in the status of its policy, and the annotation that commands it. Pure.

``status.rollout`` is what the weights in force follow from, beside ``status.inForce``: processors, and whoever drives
next, know no more than that. It is changed by replacing the whole status of one resourceVersion, so that each state
follows from the one before it, whoever writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from extproc.policy.rollout_plan import COMPLETED, Move, Phase, RolloutState
from extproc.policy.snapshot import Policy
from extproc.rollout.steps import WAITING, Verdict, begin, completed_weights, in_force, start, waits

Object = Mapping[str, Any]
COMMAND = "ai.istio.io/rollout"
"""The annotation. Its value is one of ``steps.COMMANDS``; what stands after a slash makes it another one."""
MAX_COMMAND = 128
"""Characters of its value that count."""
MAX_MOVES = 10
"""Moves that are kept."""
MAX_MESSAGE = 1024
"""Characters of a reason, by our CRD."""


_Time = Annotated[datetime, msgspec.Meta(tz=True)]


UNJUDGED = Verdict(WAITING)
"""Before the first look at a step."""


class _Move(msgspec.Struct):
    at: _Time
    state: Phase
    step: int
    reason: str = ""


class _Rollout(msgspec.Struct):
    to: str
    state: Phase
    step: Annotated[int, msgspec.Meta(ge=0, le=100)]
    since: _Time
    serving: str = ""
    moves: list[_Move] = []


def state_of(found: Object) -> RolloutState | None:
    """How far the rollout of a policy has come by its status; None: none has begun, or nothing can be made of it."""
    status = found.get("status")
    told = status.get("rollout") if isinstance(status, dict) else None
    if not told:
        return None
    try:
        read = msgspec.convert(told, _Rollout)
    except msgspec.ValidationError:
        return None
    moves = tuple(Move(move.at.timestamp(), move.state, move.step, move.reason) for move in read.moves)
    name = str(found["metadata"]["name"])
    return RolloutState(name, read.to, read.state, read.step, read.since.timestamp(), read.serving, moves)


def told(state: RolloutState, verdict: Verdict = UNJUDGED) -> dict[str, Any]:
    """``status.rollout`` for a state. ``verdict``: of its guards, at the last look."""
    return {
        "to": state.to,
        "state": state.phase,
        "step": state.percent,
        "since": time_text(state.since),
        **({"serving": state.serving} if state.serving else {}),
        "summary": f"{state.to} {state.phase} {state.percent}%",
        "verdict": verdict.word,
        "message": verdict.reason[:MAX_MESSAGE],
        "moves": [
            {"at": time_text(move.at), "state": move.phase, "step": move.percent, "reason": move.reason[:MAX_MESSAGE]}
            for move in state.moves[-MAX_MOVES:]
        ],
    }


def verdict_of(found: Object) -> Verdict:
    """What its status says of the guards."""
    rollout = (found.get("status") or {}).get("rollout") or {}
    return Verdict(str(rollout.get("verdict", WAITING)), str(rollout.get("message", "")))


def told_after(found: Object, state: RolloutState) -> dict[str, Any]:
    """The same after the status that ``found`` has: where the state is that one's, nothing changes."""
    return dict(found["status"]["rollout"]) if state == state_of(found) else told(state)


def reconciled(policy: Policy, state: RolloutState | None, ready: bool, now: float) -> RolloutState | None:
    """The state for a policy as it is to be in force, of that which its status has; the same where it fits.

    ``policy``: with the weights of its spec. ``ready``: whether anybody serves the new version.
    """
    plan = policy.rollout
    if plan is None:
        return None
    if state is None or state.to != plan.to:
        return begin(policy, plan, state, now, ready=ready)
    return start(state, plan, now) if waits(state) and ready else state


def with_state(policy: Policy, state: RolloutState | None) -> Policy:
    """The policy with the weights of its rollout. ``policy``: with those of its spec."""
    return in_force(policy, state) if state is not None else policy


def todo(policy: Policy, state: RolloutState) -> str:
    """What is left to people when a rollout is completed; else empty."""
    if state.phase != COMPLETED:
        return ""
    return f"write {completed_weights(policy, state.to)} into the policy, and remove its rollout"


def command_of(found: Object) -> str:
    """The value of the annotation; empty where there is none."""
    annotations = found["metadata"].get("annotations") or {}
    return str(annotations.get(COMMAND, ""))[:MAX_COMMAND]


def handled_command(found: Object) -> str:
    """The last one that was carried out, or found unfit: it counts no more."""
    return str((found.get("status") or {}).get("rolloutCommand", ""))


def moment(text: str) -> float:
    """The Unix time that is written in RFC 3339."""
    return datetime.fromisoformat(text).timestamp()


def time_text(moment: float) -> str:
    """RFC 3339 with six digits, as Kubernetes' MicroTime."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
