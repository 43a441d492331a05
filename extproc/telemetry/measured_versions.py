"""What verdicts on rollouts need of one process: evidence of each version of the policies that are rolled out.

Only requests count whose version the weights chose: a request that names its version, or whose headers do, is not like
the others. Nor do those that are the client's own doing: refused with 4xx, answered with an error of that kind, or
left; but it is counted for how long clients had waited that left. Counting takes place when an exchange has ended,
after the client has its answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from math import inf

import msgspec

from extproc.apis.answer_table import SESSIONS, SHAPES
from extproc.exchange.notes import BROKEN_OFF, CLIENT_ERROR, FAILED_AFTER_STATUS, Observed, RequestAccount
from extproc.policy.rollout_plan import FIRST_TOKEN, OUTPUT_TOKENS, PER_TOKEN
from extproc.policy.snapshot import Snapshot
from extproc.rollout.evidence import ABANDONED, DURATION, EvidenceByVersion, VersionEvidence

DRAWN_COHORTS = ("weight", "sticky")
"""Cohorts in which the weights choose the version."""
_LEFT = ("client_left", BROKEN_OFF)
"""Ends that say nothing of the server, unless the client waited for long."""
_GENERATING = frozenset(
    (api, operation)
    for (api, operation), shape in SHAPES.items()
    if shape.output and operation not in ("embed", "rerank", "classify")
)
"""Operations whose answers are generated text: empty ones, and those of which a server counts no tokens, count too."""

_REMEMBERED = 600
"""Looks for which a process is known that is not heard: EndpointSlices may lose an endpoint, and find it again. Looks
are a second apart at least, so that a process which is younger in seconds was not forgotten.
"""


class ProcessEvidence(msgspec.Struct):
    """Everything that a process has counted since its start."""

    process: str
    """Another one for each start."""
    policies: dict[str, EvidenceByVersion] = {}
    age: float = inf
    """Seconds since its start."""


class Measured(msgspec.Struct, frozen=True):
    """What processes have counted. ``unheard``: of which that is not known, and why; empty: these are all."""

    processes: Sequence[ProcessEvidence] = ()
    unheard: str = ""


class MeasuredVersions:
    """Counts a process's requests. Written by the event loop's thread; any thread may ask for the report."""

    def __init__(self) -> None:
        self._evidence = ProcessEvidence(os.urandom(8).hex())
        self._started = time.monotonic()
        self._policies: frozenset[str] = frozenset()

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Follows a reload: counts for the policies that have a rollout from now on."""
        self._policies = frozenset(policy.name for policy in snapshot.policies if policy.rollout)

    def note(self, observed: Observed) -> None:
        """Counts a finished exchange; of an accounted one what the account does not have."""
        if observed.policy not in self._policies or observed.cohort not in DRAWN_COHORTS:
            return
        if observed.code.startswith("4") or observed.error == CLIENT_ERROR:
            return
        counts = self._of(observed)
        if observed.first_token is not None:
            counts.note(FIRST_TOKEN, observed.first_token, observed.user)
        if observed.per_token is not None:
            counts.note(PER_TOKEN, observed.per_token, observed.user)
        if observed.error in _LEFT:
            if observed.first_token is None and observed.seconds is not None:
                counts.note(ABANDONED, observed.seconds, observed.user)
            return
        counts.answers += not observed.left
        failed_answer = observed.error in FAILED_AFTER_STATUS
        if observed.accounted:
            if failed_answer:
                counts.fail_in_answer(observed.user)
        else:
            counts.requests += 1
            if failed_answer or observed.code.startswith("5"):
                counts.fail(observed.user)
            _note_duration(counts, observed.code, observed.error, observed.seconds)
        if observed.code.startswith("2") and not observed.error and not observed.left and _generates(observed):
            # An answer that tells of no tokens counts as one without any, since an empty one tells of none.
            counts.note(OUTPUT_TOKENS, observed.output_tokens or 0, observed.user)

    def account(self, account: RequestAccount) -> None:
        """Counts a request by Envoy's account of it."""
        if account.policy not in self._policies or account.cohort not in DRAWN_COHORTS:
            return
        if account.failure not in _LEFT and not account.code.startswith("4"):
            counts = self._of(account)
            counts.requests += 1
            if account.code.startswith("5") or account.failure in FAILED_AFTER_STATUS:
                counts.fail(account.user)
            _note_duration(counts, account.code, account.failure, account.seconds)

    def report(self) -> bytes:
        """For ``decode_report``. Encoding holds the GIL throughout, so it sees no half-made change."""
        self._evidence.age = time.monotonic() - self._started
        return encode_report(Measured((self._evidence,)))

    def _of(self, note: Observed | RequestAccount) -> VersionEvidence:
        versions = self._evidence.policies.setdefault(note.policy, {})
        found = versions.get(note.version)
        if found is None:
            found = versions[note.version] = VersionEvidence()
        return found


def _note_duration(counts: VersionEvidence, code: str, failure: str, seconds: float | None) -> None:
    if seconds is not None and code.startswith("2") and not failure:
        counts.note(DURATION, seconds)


def _generates(observed: Observed) -> bool:
    """Whether it is of an operation whose answers have output tokens, if they are as they should be."""
    asked = observed.api, observed.operation
    return asked in _GENERATING or asked in SESSIONS


def encode_report(measured: Measured) -> bytes:
    """What processes have counted that answer as one."""
    return _ENCODER.encode(measured)


def decode_report(report: bytes) -> Measured:
    """What ``encode_report`` was given. Raises ``msgspec.MsgspecError``."""
    return _DECODER.decode(report)


class MergedEvidence:
    """What all processes together count, from one look to the next."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[ProcessEvidence, int]] = {}
        """By process: what it had counted, and at which look it was heard last."""
        self._steps: dict[str, tuple[float, int]] = {}
        """By policy: when its step began, and the first look at it."""
        self._looks = 0

    def fresh(
        self, processes: Sequence[ProcessEvidence], since: Mapping[str, float], now: float
    ) -> dict[str, EvidenceByVersion]:
        """What those that are heard have counted since they were heard last, by policy; a new one, since its start.

        ``since``: when the present step of each policy began. What a process has counted partly in another step is left
        out: one that was silent when the step began, or is not new and was not known. ``now``: Unix time.
        """
        self._looks += 1
        steps = {policy: (began, self._looks) for policy, began in since.items()}
        self._steps = steps | {name: step for name, step in self._steps.items() if step[0] == since.get(name)}
        found: dict[str, EvidenceByVersion] = {}
        for process in processes:
            before, heard = self._seen.get(process.process, (None, 0))
            self._seen[process.process] = process, self._looks
            for policy, versions in new_evidence(process, before).items():
                began, first = self._steps.get(policy, (0.0, 0))
                if before is None:
                    in_step = process.age < _REMEMBERED and now - process.age >= began
                else:
                    in_step = heard >= first - 1
                for version, counts in versions.items() if in_step else ():
                    found.setdefault(policy, {}).setdefault(version, VersionEvidence()).add(counts)
        self._seen = {name: seen for name, seen in self._seen.items() if self._looks - seen[1] <= _REMEMBERED}
        return found


def new_evidence(now: ProcessEvidence, before: ProcessEvidence | None) -> dict[str, EvidenceByVersion]:
    """What ``now`` has more than the same process had ``before``; all of it for a process that is new."""
    found: dict[str, EvidenceByVersion] = {}
    for policy, versions in now.policies.items():
        earlier = before.policies.get(policy, {}) if before is not None else {}
        for version, counts in versions.items():
            more = counts.since(earlier[version]) if version in earlier else counts.copy()
            found.setdefault(policy, {})[version] = more
    return found


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Measured)
