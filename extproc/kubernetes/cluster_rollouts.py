"""Drives the rollouts of a cluster: measures, judges, obeys, and writes what follows into the policies' status.

The controller that leads does it beside its passes, so that a rollback waits for none. Rollouts begin, and end with
their ``spec.rollout``, in passes (``desired_state``), since a new version is to be in the mesh before it gets requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from extproc.kubernetes.allowed_prometheus import AllowedPrometheus
from extproc.kubernetes.api import POLICIES, Api, ApiFailure, NoCredentials, Object
from extproc.kubernetes.conditions import VersionStatus, told_versions
from extproc.kubernetes.leader import LostLead
from extproc.kubernetes.object_documents import is_in_force, read
from extproc.kubernetes.object_events import Event, move_event, write_event
from extproc.kubernetes.object_watch import ObjectWatch
from extproc.kubernetes.processors import Processors
from extproc.kubernetes.rollout_in_status import (
    UNJUDGED,
    command_of,
    handled_command,
    state_of,
    time_text,
    todo,
    told,
    verdict_of,
    with_state,
)
from extproc.policy.rollout_plan import COMPLETED, FAILED, PAUSED, PROGRESSING, RolloutState
from extproc.policy.snapshot import Policy
from extproc.rollout.evidence import EvidenceByVersion
from extproc.rollout.looks import RolloutLooks
from extproc.rollout.status import describe
from extproc.rollout.steps import UnfitCommandError, Verdict, obey, waits
from extproc.telemetry.measured_versions import Measured, MergedEvidence

log = logging.getLogger(__name__)

Connect = Callable[[], AbstractAsyncContextManager[Api]]
NEWS_INTERVAL = 10.0
"""Seconds, at the least, between two writes of a verdict whose numbers alone have changed."""
_JUDGED = (PROGRESSING, PAUSED)


class Change(msgspec.Struct, frozen=True):
    """A status to write. ``one``: the object as it was looked at; ``live``: where the answer belongs."""

    one: Object
    live: Object
    status: dict[str, Any]
    moved: bool
    event: Event | None = None


class _Rollout(msgspec.Struct, frozen=True):
    """A policy with a rollout, as it is looked at."""

    one: Object
    live: Object
    policy: Policy
    """With the weights of its spec."""
    state: RolloutState | None
    in_force: Policy
    """With those of its rollout."""


class ClusterRollouts:
    """The rollouts of the policies of one controller."""

    def __init__(
        self,
        processors: Processors,
        lease: str,
        prometheus: AllowedPrometheus,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``lease``: of the controller, whose policies they are. ``prometheus``: asked for guards. ``clock``: Unix
        time.
        """
        self._prometheus = prometheus
        self.described: Sequence[Mapping[str, Any]] = ()
        """As ``rollout.status.describe`` has them, at the last look."""
        self._processors, self._lease, self._clock = processors, lease, clock
        self._said = ""
        self.forget()

    @property
    def watches(self) -> Sequence[ObjectWatch]:
        """What is to be followed while it drives: where the processors are."""
        return self._processors.watches

    def forget(self) -> None:
        """Another one drives, or there is nothing to drive: what was measured is out of date."""
        self._looks = RolloutLooks(self._prometheus.ask, self._say)
        self._merged = MergedEvidence()
        self._told_at: dict[str, float] = {}
        self.described = ()

    async def tick(self, connect: Connect, objects: Iterable[Object], check: Callable[[], None], *, away: bool) -> bool:
        """Looks at all rollouts, and writes what follows; returns whether one has moved. Raises nothing.

        ``objects``: policies, into which what is written is put too; ``check`` raises ``LostLead`` where nothing may be
        written any more; ``away``: whether the API server is.
        """
        moved, refused = False, []
        try:
            changes = await self.look(objects, away=away)
            if changes and not away:
                async with connect() as api:
                    for change in changes:
                        try:
                            moved = await self.write(api, change, check) or moved
                        except ApiFailure as failure:
                            if not 400 <= failure.status < 500:
                                raise
                            refused.append(f"{change.one['metadata']['name']}: {failure}")  # the others can be written
            if refused:
                self._say(f"rollouts stay as they are: {'; '.join(refused)}")
        except (ApiFailure, NoCredentials, LostLead) as failure:
            self._say(f"rollouts stay as they are: {failure}")
        except Exception:  # a bug must not stop what can roll back
            log.exception("rollouts could not be looked at")
        return moved

    async def look(self, objects: Iterable[Object], *, away: bool = False) -> list[Change]:
        """What follows from what is measured now, and from commands. ``away``: whether the API server is."""
        mine = [one for one in objects if self._is_mine(one) and (state_of(one) or _is_commanded(one))]
        states = [state for one in mine if (state := state_of(one)) is not None]
        if not states:
            self.forget()
        measured = Measured((), "the API server does not answer") if away else Measured()
        if not any(state.phase in _JUDGED and not waits(state) for state in states):
            self._merged = MergedEvidence()
        elif not away:
            measured = await self._processors.measure()
        # Objects are replaced, and their statuses too, while others are looked at: these are as they are now.
        return await asyncio.to_thread(self._look, [(dict(one), one) for one in mine], measured)

    def _look(self, objects: Sequence[tuple[Object, Object]], measured: Measured) -> list[Change]:
        now = self._clock()
        found: list[_Rollout] = []
        unread: list[tuple[str, Exception]] = []
        for one, live in objects:
            try:
                if (rollout := _rollout(one, live)) is not None:
                    found.append(rollout)
            except Exception as error:
                unread.append((str(one["metadata"]["name"]), error))
        since = {rollout.state.policy: rollout.state.since for rollout in found if rollout.state is not None}
        fresh = self._merged.fresh(measured.processes, since, now)
        self._looks.begin([rollout.in_force for rollout in found], measured.unheard, now)
        for name, problem in unread:
            self._looks.fail(name, problem)
        changes: list[Change] = []
        described = []
        for rollout in found:
            name = rollout.policy.name
            try:
                changes += self._look_at(rollout, fresh.get(name, {}), now)
                described.append(describe(rollout.in_force, self._looks.steps.get(name)))
            except Exception as error:  # a bug that one policy meets must not stop the rollbacks of others
                self._looks.fail(name, error)
        self.described = tuple(each for each in described if each is not None)
        return changes

    def _look_at(self, rollout: _Rollout, fresh: EvidenceByVersion, now: float) -> list[Change]:
        one, live, policy, state = rollout.one, rollout.live, rollout.policy, rollout.state
        if _is_commanded(one):
            return [self._obey(one, live, policy, state, now)]
        if state is None or policy.rollout is None or policy.rollout.to != state.to:
            return []
        after, verdict = self._looks.look(policy.rollout, state, fresh, now)
        if state.phase not in _JUDGED or waits(state):
            verdict = verdict_of(one)
        if after is state and not self._is_news(one, verdict, now):
            return []
        self._told_at[policy.name] = now
        return [_change(one, live, policy, state, after, verdict)]

    def _is_mine(self, one: Object) -> bool:
        return is_in_force(one) and one["status"].get("controller") == self._lease

    def _is_news(self, one: Object, verdict: Verdict, now: float) -> bool:
        before = verdict_of(one)
        due = now - self._told_at.get(str(one["metadata"]["name"]), 0.0) >= NEWS_INTERVAL
        return before.word != verdict.word or (due and before != verdict)

    def _obey(self, one: Object, live: Object, policy: Policy, state: RolloutState | None, now: float) -> Change:
        command, plan = command_of(one), policy.rollout
        word = command.partition("/")[0]
        after, unfit = state, ""
        if state is None or plan is None or plan.to != state.to:
            unfit = "no rollout is in force"
        elif _needs_servers(word, state) and (
            _ready(one).get(state.to) == 0 or (state.phase in _JUDGED and not state.percent)
        ):
            unfit = f"{state.to} has no server yet"
        elif command:
            try:
                after = obey(state, plan, word, now)
            except UnfitCommandError as error:
                unfit = str(error)
        change = _change(one, live, policy, state, after, verdict_of(one))
        status = {name: value for name, value in change.status.items() if name != "rolloutCommand"}
        event = change.event
        if command:
            status["rolloutCommand"] = command
            if unfit:
                event = Event("UnfitCommand", "Rollout", f"{command!r} was not carried out: {unfit}", warning=True)
        return msgspec.structs.replace(change, status=status, event=event)

    async def write(self, api: Api, change: Change, check: Callable[[], None]) -> bool:
        """Writes a status, unless the object has changed since; whether it has written a move. ``check`` raises where
        nothing may be written any more. Raises ``ApiFailure``.
        """
        check()
        try:
            written = await api.replace(POLICIES, change.one | {"status": change.status}, "status")
        except ApiFailure as failure:
            if failure.status not in (404, 409):
                raise
            return False  # the next look is about what is there now
        change.live["status"], change.live["metadata"] = written["status"], written["metadata"]
        if change.event is not None:
            log.warning("rollout of %s: %s: %s", change.one["metadata"]["name"], change.event.reason, change.event.note)
            await write_event(api, written, change.event, time_text(self._clock()))
        return change.moved

    def _say(self, text: str, error: Exception | None = None) -> None:
        """Logs what goes on for long only once."""
        if text != self._said:
            log.warning("%s", text, exc_info=error)
            self._said = text


def _is_commanded(one: Object) -> bool:
    return command_of(one) != handled_command(one)


def _needs_servers(word: str, state: RolloutState) -> bool:
    """Whether the command gives the new version requests that it does not have."""
    return (word == "promote" and state.phase in _JUDGED) or (word == "resume" and state.phase == FAILED)


def _ready(one: Object) -> dict[str, int | None]:
    """Endpoints that are ready, by version; None: they are outside the cluster."""
    return {version["name"]: version.get("ready") for version in one["status"].get("versions") or ()}


def _rollout(one: Object, live: Object) -> _Rollout | None:
    """None where nothing that can be read is in force."""
    status = {name: value for name, value in one["status"].items() if name != "rollout"}
    document = read({**one, "status": status}).document
    if document is None or not isinstance(document.value, Policy):
        return None
    state = state_of(one)
    return _Rollout(one, live, document.value, state, with_state(document.value, state))


def _change(
    one: Object, live: Object, policy: Policy, before: RolloutState | None, after: RolloutState | None, verdict: Verdict
) -> Change:
    status = dict(one["status"])
    if after is None:
        return Change(one, live, status, moved=False)
    left = todo(policy, after)
    if after is not before and after.phase == PROGRESSING:
        verdict = UNJUDGED
    elif after.phase == COMPLETED:
        verdict = Verdict(verdict.word, left)
    ready = _ready(one)
    served = with_state(policy, after).answering
    status |= told_versions([VersionStatus(v.name, v.weight, ready.get(v.name)) for v in served])
    status["rollout"] = told(after, verdict)
    moved = after is not before
    return Change(one, live, status, moved, move_event(after, left) if moved else None)
