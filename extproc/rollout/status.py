"""A rollout as plain data: what ``extproc rollout status``, the admin port and the page show."""

from __future__ import annotations

from typing import Any

import msgspec

from extproc.policy.rollout_plan import COMPLETED, ENDED, RolloutPlan, RolloutState
from extproc.policy.snapshot import Policy
from extproc.rollout.evidence import StepEvidence
from extproc.rollout.steps import completed_weights


def describe(policy: Policy, step: StepEvidence | None) -> dict[str, Any] | None:
    """The rollout of a policy whose weights are those in force; None where it has none.

    ``step``: what was measured in its present step; of another step, it is left out. Times are Unix times, shares 0 to
    1, values those of the guards.
    """
    plan, state = policy.rollout, policy.rollout_state
    if plan is None:
        return None
    total = sum(version.weight for version in policy.answering)
    if state is None or step is None or step.since != state.since:
        step = None
    return {
        "policy": policy.name,
        "to": plan.to,
        "phase": state.phase if state else None,
        "percent": state.percent if state else 0,
        "since": state.since if state else None,
        "reason": state.moves[-1].reason if state and state.moves else "it has not begun: nobody drives it yet",
        "todo": _todo(policy, plan, state),
        "steps": list(plan.steps),
        "interval": plan.interval,
        "minRequests": plan.min_requests,
        "onFailure": "rollback" if plan.rolls_back else "pause",
        "weights": {version.name: version.weight / total if total else 0.0 for version in policy.answering},
        "measured": step.measured if step else 0.0,
        "fault": step.fault if step else "",
        "requests": {version: counts.requests for version, counts in step.versions.items()} if step else {},
        "guards": [
            {
                "guard": record.label,
                "verdict": record.word,
                "reason": record.reason,
                "value": record.value,
                "looks": [[look.at, look.value] for look in record.looks],
            }
            for record in (step.guards if step else ())
        ],
        "moves": [msgspec.structs.asdict(move) for move in state.moves] if state else [],
    }


def _todo(policy: Policy, plan: RolloutPlan, state: RolloutState | None) -> str:
    """What is left to people once it has ended; else empty."""
    if state is None or state.phase not in ENDED:
        return ""
    if state.phase == COMPLETED:
        return f"write {completed_weights(policy, plan.to)} into the policy, and remove its rollout"
    return f"mend {plan.to}, and `extproc rollout resume` begins at the first step again; or write another `to`"
