"""The status of policies and pools: conditions, what is in force, what is ready. Pure.

Source: Kubernetes' API conventions, "Typical status properties": a condition keeps its ``lastTransitionTime`` until its
``status`` changes, and says with ``observedGeneration`` of which spec it speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from extproc.errors import Problem
from extproc.kubernetes.pool_discovery import FoundPool
from extproc.policy.gpu import Gpu

Status: TypeAlias = dict[str, Any]
Truth: TypeAlias = Literal["True", "False", "Unknown"]

MAX_MESSAGE = 32768
"""Characters of a condition's message, by the API conventions and our CRDs."""
MAX_SUMMARY = 1024


class Condition(msgspec.Struct, frozen=True):
    """One condition, without its times."""

    type: Literal["Accepted", "ResolvedRefs", "Programmed"]
    status: Truth
    reason: str
    message: str = ""


class VersionStatus(msgspec.Struct, frozen=True):
    """One version as processors have it."""

    name: str
    weight: int
    ready: int | None
    """Endpoints that take requests; None: they are outside the cluster."""


class InForce(msgspec.Struct, frozen=True):
    """The spec that processors decide by, and the generation that it was."""

    generation: int
    spec: Mapping[str, Any]


def accepted(problems: Sequence[Problem], conflicts: Sequence[Problem]) -> Condition:
    """Whether a spec is right. ``problems``: of itself, warnings included; ``conflicts``: with older objects."""
    errors = [problem for problem in problems if not problem.warning]
    if errors:
        return Condition("Accepted", "False", "Invalid", _told(errors))
    if conflicts:
        return Condition("Accepted", "False", "Conflicted", _told(conflicts))
    return Condition("Accepted", "True", "Accepted", _told(problems))


def resolved(missing: Iterable[tuple[str, str]]) -> Condition:
    """Whether all is there that the spec refers to. ``missing``: reasons, each with its message."""
    found = list(missing)
    if not found:
        return Condition("ResolvedRefs", "True", "ResolvedRefs")
    return Condition("ResolvedRefs", "False", found[0][0], _cut([message for _, message in found], MAX_MESSAGE))


def policy_status(
    before: Mapping[str, Any],
    conditions: Sequence[Condition],
    in_force: InForce | None,
    versions: Sequence[VersionStatus],
    rollout: Status | None = None,
    *,
    controller: str,
    generation: int,
    now: str,
) -> Status | None:
    """The status of a policy after ``before``; None where nothing in it changes. ``rollout``: how far it has come;
    ``controller``: by its Lease, who writes it; ``now``: RFC 3339.
    """
    status: Status = {
        "observedGeneration": generation,
        "controller": controller,
        "conditions": _dated(before, conditions, generation, now),
    }
    status |= _told_in_force(in_force) | told_versions(versions)
    status |= {"rollout": rollout} if rollout is not None else {}
    status |= {"rolloutCommand": before["rolloutCommand"]} if "rolloutCommand" in before else {}
    return None if status == before else status


def told_versions(versions: Sequence[VersionStatus]) -> Status:
    """The part of a policy's status that tells of its versions."""
    if not versions:
        return {}
    ready = {v.name: {} if v.ready is None else {"ready": v.ready} for v in versions}
    listed = [{"name": v.name, "weight": v.weight, **ready[v.name]} for v in versions]
    return {"versions": listed, "summary": _summary(versions)}


def pool_status(
    before: Mapping[str, Any],
    conditions: Sequence[Condition],
    in_force: InForce | None,
    found: FoundPool,
    gpu: Gpu,
    endpoints: int,
    *,
    controller: str,
    generation: int,
    now: str,
) -> Status | None:
    """The status of a pool after ``before``; None where nothing in it changes. ``gpu``: as processors have it."""
    status: Status = {
        "observedGeneration": generation,
        "controller": controller,
        "conditions": _dated(before, conditions, generation, now),
        "nodes": len(found.nodes),
        "gpus": found.count,
        "endpoints": endpoints,
    }
    memory = f"{gpu.memory}Mi" if gpu.memory else ""
    told = {"product": gpu.product, "architecture": gpu.architecture, "memory": memory, "mig": found.mig[:63]}
    status |= {name: text for name, text in told.items() if text} | _told_in_force(in_force)
    return None if status == before else status


def _told_in_force(in_force: InForce | None) -> Status:
    if in_force is None:
        return {}
    return {"inForce": {"generation": in_force.generation, "spec": dict(in_force.spec)}}


def _dated(before: Mapping[str, Any], conditions: Sequence[Condition], generation: int, now: str) -> list[Status]:
    known = {condition["type"]: condition for condition in before.get("conditions") or ()}
    dated = []
    for condition in conditions:
        old = known.get(condition.type, {})
        since = old["lastTransitionTime"] if old.get("status") == condition.status else now
        dated.append(
            {**msgspec.structs.asdict(condition), "observedGeneration": generation, "lastTransitionTime": since}
        )
    return dated


def _summary(versions: Sequence[VersionStatus]) -> str:
    """``v1 90 (3 ready), v2 10 (0 ready)``."""
    return _cut(
        [f"{v.name} {v.weight}" + ("" if v.ready is None else f" ({v.ready} ready)") for v in versions],
        MAX_SUMMARY,
        ", ",
    )


def _told(problems: Iterable[Problem]) -> str:
    """A line for each problem, as `extproc check` writes it after the file's name."""
    lines = []
    for problem in problems:
        severity = "warning: " if problem.warning else ""
        path = f"{problem.path}: " if problem.path else ""
        lines.append(f"{severity}{path}{problem.message}; {problem.remedy}")
    return _cut(lines, MAX_MESSAGE)


def _cut(parts: Sequence[str], limit: int, between: str = "\n") -> str:
    """As many whole parts as fit; how many more there are is told, and a first one that is too long is cut."""
    text = between.join(parts)
    if len(text) <= limit:
        return text
    kept = len(parts)
    while kept > 1:
        kept -= 1
        text = between.join((*parts[:kept], f"and {len(parts) - kept} more"))
        if len(text) <= limit:
            return text
    return parts[0][: limit - 3] + "..."
