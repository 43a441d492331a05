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

from extproc.fetch.prometheus_query import Question
from extproc.kubernetes.api import POLICIES, Api, ApiFailure, NoCredentials, Object
from extproc.kubernetes.conditions import VersionStatus, told_versions
from extproc.kubernetes.leader import LostLead
from extproc.kubernetes.object_documents import is_in_force, read
from extproc.kubernetes.object_events import Event, move_event, write_event
from extproc.kubernetes.object_watch import ObjectWatch
from extproc.kubernetes.processors import Measured, Processors
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
from extproc.telemetry.measured_versions import MergedEvidence

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


class ClusterRollouts:
    """The rollouts of the policies of one controller."""

    def __init__(self, processors: Processors, lease: str, clock: Callable[[], float] = time.time) -> None:
        """``lease``: of the controller, whose policies they are. ``clock``: Unix time."""
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
        self._looks = RolloutLooks(Question, self._say)
        self._merged, self._heard = MergedEvidence(), False
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
            self._merged, self._heard = MergedEvidence(), False
        elif not away:
            measured = await self._processors.measure()
        fresh = self._merged.fresh(measured.processes)
        if measured.processes and not self._heard:
            # Counted before this controller listened: in which step, nobody knows.
            fresh, self._heard = {}, True
        # Objects are replaced, and their statuses too, while others are looked at: these are as they are now.
        return await asyncio.to_thread(self._look, [(dict(one), one) for one in mine], fresh, measured.unheard)

    def _look(
        self, objects: Sequence[tuple[Object, Object]], fresh: Mapping[str, EvidenceByVersion], unheard: str
    ) -> list[Change]:
        now = self._clock()
        looked_at = [(one, live, policy) for one, live in objects if (policy := _policy(one)) is not None]
        in_force = [with_state(policy, state_of(one)) for one, _, policy in looked_at]
        self._looks.begin(in_force, unheard, now)
        changes = []
        for one, live, policy in looked_at:
            state = state_of(one)
            if _is_commanded(one):
                changes.append(self._obey(one, live, policy, state, now))
            elif state is not None and policy.rollout is not None and policy.rollout.to == state.to:
                after, verdict = self._looks.look(policy.rollout, state, fresh.get(policy.name, {}), now)
                if state.phase not in _JUDGED or waits(state):
                    verdict = verdict_of(one)
                if after is not state or self._is_news(one, verdict, now):
                    self._told_at[policy.name] = now
                    changes.append(_change(one, live, policy, state, after, verdict))
        described = (describe(policy, self._looks.steps.get(policy.name)) for policy in in_force)
        self.described = tuple(each for each in described if each is not None)
        return changes

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

    def _say(self, text: str) -> None:
        """Logs what goes on for long only once."""
        if text != self._said:
            log.warning("%s", text)
            self._said = text


def _is_commanded(one: Object) -> bool:
    return command_of(one) != handled_command(one)


def _needs_servers(word: str, state: RolloutState) -> bool:
    """Whether the command gives the new version requests that it does not have."""
    return (word == "promote" and state.phase in _JUDGED) or (word == "resume" and state.phase == FAILED)


def _ready(one: Object) -> dict[str, int | None]:
    """Endpoints that are ready, by version; None: they are outside the cluster."""
    return {version["name"]: version.get("ready") for version in one["status"].get("versions") or ()}


def _policy(one: Object) -> Policy | None:
    """As it is in force, with the weights of its spec."""
    status = {name: value for name, value in one["status"].items() if name != "rollout"}
    document = read({**one, "status": status}).document
    return document.value if document is not None and isinstance(document.value, Policy) else None


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
