"""Writes the status of policies and pools, and an event where a condition has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from extproc.kubernetes.api import POLICIES, POOLS, Api, ApiFailure, Object
from extproc.kubernetes.conditions import (
    Condition,
    Status,
    VersionStatus,
    accepted,
    policy_status,
    pool_status,
    resolved,
)
from extproc.kubernetes.desired_state import Desired, Told, in_force_of, next_rollout
from extproc.kubernetes.mesh_writer import PARALLEL
from extproc.kubernetes.object_documents import Key
from extproc.kubernetes.object_events import Event, move_event, write_event
from extproc.kubernetes.rollout_in_status import moment, state_of, told_after, with_state
from extproc.policy.gpu import Gpu

_RESOURCES = {POLICIES.kind: POLICIES, POOLS.kind: POOLS}


class StatusWriter:
    """Writes what has changed, pools before the policies that use them."""

    def __init__(self, lease: str) -> None:
        """``lease``: of this controller, ``namespace/name``."""
        self._lease = lease

    async def write(
        self,
        api: Api,
        desired: Desired,
        objects: Mapping[Key, Object],
        blocked: Mapping[Key, str],
        now: str,
        check: Callable[[], None],
    ) -> bool:
        """Returns whether what processors decide by changed. ``blocked``: why policies could not be carried out;
        ``now``: RFC 3339; ``check`` raises where nothing may be written any more. Raises ``ApiFailure``.
        """
        changed = False
        for kind in (POOLS.kind, POLICIES.kind):
            limit = asyncio.Semaphore(PARALLEL)

            async def write(key: Key, limit: asyncio.Semaphore = limit) -> bool:
                async with limit:
                    check()
                    one = objects[key]
                    status = _status(key, one, desired, blocked.get(key, ""), controller=self._lease, now=now)
                    return status is not None and await _write(api, key, one, status, now)

            keys = [key for key in objects if key.kind == kind]
            for outcome in await asyncio.gather(*map(write, keys), return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                changed = changed or outcome
        return changed


async def _write(api: Api, key: Key, one: Object, status: Status, now: str) -> bool:
    before = one.get("status") or {}
    wanted = {name: value for name, value in one.items() if name != "status"} | {"status": status}
    try:
        written = await api.replace(_RESOURCES[key.kind], wanted, "status")
    except ApiFailure as failure:
        if failure.status in (404, 409):  # it has changed, or gone: the next pass is about that
            raise ApiFailure(f"{key} changed while its status was written") from failure
        raise
    one["status"], one["metadata"] = written["status"], written["metadata"]
    await _tell(api, one, before, status, now)
    earlier = {**one, "status": before}
    return (in_force_of(earlier), state_of(earlier)) != (in_force_of(one), state_of(one))


def _status(key: Key, one: Object, desired: Desired, why: str, *, controller: str, now: str) -> Status | None:
    """None where nothing changes."""
    before = one.get("status") or {}
    generation = int(one["metadata"].get("generation") or 1)
    told, in_force = desired.told[key], desired.in_force.get(key)
    right = accepted(told.problems, told.conflicts)
    conditions = [right, resolved(told.missing)]
    if key.kind == POOLS.kind:
        pool = next((pool for pool in desired.snapshot.pools if pool.name == key.name), None)
        gpu = pool.gpu if pool is not None and in_force is not None else Gpu()
        return pool_status(
            before,
            conditions,
            in_force,
            told.found,
            gpu,
            told.endpoints,
            controller=controller,
            generation=generation,
            now=now,
        )
    if right.status == "False":
        conditions.append(Condition("Programmed", "False", "NotAccepted", _stays(in_force is not None)))
    elif why:
        conditions.append(Condition("Programmed", "False", "NotWritten", f"{why}; {_stays(in_force is not None)}"))
    else:
        conditions.append(Condition("Programmed", "True", "Programmed"))
    versions, rollout = _rolled_out(one, told, now)
    return policy_status(
        before, conditions, in_force, versions, rollout, controller=controller, generation=generation, now=now
    )


def _rolled_out(one: Object, told: Told, now: str) -> tuple[tuple[VersionStatus, ...], Status | None]:
    """The versions with their weights in force, and ``status.rollout``: both by the status as it is at this moment."""
    state = next_rollout(one, told, moment(now))
    if state is None or told.rolled_out is None:
        return told.versions, None
    weights = {version.name: version.weight for version in with_state(told.rolled_out, state).answering}
    versions = tuple(msgspec.structs.replace(each, weight=weights[each.name]) for each in told.versions)
    return versions, told_after(one, state)


def _stays(something: bool) -> str:
    return "what was in force stays" if something else "nothing of it is in force"


async def _tell(api: Api, one: Object, before: Mapping[str, Any], status: Status, now: str) -> None:
    """An event for each condition that is another one than before, and for a rollout that begins; of what is right from
    the start, that it is programmed.
    """
    known = {c["type"]: (c["status"], c["reason"]) for c in before.get("conditions") or ()}
    at = now.replace("Z", ".000000Z")
    for condition in status["conditions"]:
        if known.get(condition["type"]) == (condition["status"], condition["reason"]):
            continue
        if not known and condition["status"] == "True" and condition["type"] != "Programmed":
            continue
        note = condition["message"] or f"{condition['type']} is {condition['status']}"
        told = Event(condition["reason"], condition["type"], note, warning=condition["status"] != "True")
        await write_event(api, one, told, at)
    state = state_of(one)
    if state is not None and state != state_of({**one, "status": before}):
        await write_event(api, one, move_event(state), at)
