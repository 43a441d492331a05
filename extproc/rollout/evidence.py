"""What verdicts are made from: counts of requests, and of values in buckets, that add up over processes and times.

The buckets are those of DDSketch (Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch", VLDB 2019):
their bounds are powers of ``GROWTH``, so that a value is known within 2 % whatever its size. The histograms of
``/metrics`` are too coarse here: neighbouring bounds differ by up to 2, and a version that is 1.5 times as slow would
often be in the same bucket.
"""

from __future__ import annotations

from math import ceil, log
from typing import TypeAlias, TypeVar

import msgspec

from extproc.policy.decision import USER_LENGTH, USERS
from extproc.policy.rollout_plan import FIRST_TOKEN, OUTPUT_TOKENS, PER_TOKEN

GROWTH = 1.02
"""Ratio of two neighbouring bounds."""
_LOG_GROWTH = log(GROWTH)
ZERO = -2000
"""Bucket of 0, below all others."""
_LOWEST, _HIGHEST = -900, 900
"""Of the other buckets: 18 ns to 5e7 s, or tokens."""

USER_GROUPS = 16
"""Groups of users by which values are counted: a group for each 16 of the words for users (``Decision.user``)."""
_GROUP = 4096
"""By how much the keys of two neighbouring groups differ, in ``ValuesByGroup``."""
_FIRST_KEY = -_GROUP // 2
_LAST_KEY = _FIRST_KEY + _GROUP * (1 + USER_GROUPS) - 1
"""Of keys that a process can have counted."""
_GROUPS = {f"{word:0{USER_LENGTH}x}": _GROUP * (1 + word % USER_GROUPS) for word in range(USERS)}

K = TypeVar("K", int, str)
Buckets: TypeAlias = dict[int, int]
"""Number of values by bucket."""
ValuesByGroup: TypeAlias = dict[int, int]
"""Number of values by bucket and group of users, as one number; without a group where the user is not known."""


def bucket(value: float) -> int:
    """The bucket of a value: ``upper_bound(bucket - 1) < value <= upper_bound(bucket)``."""
    if value <= 0:
        return ZERO
    number = ceil(log(value) / _LOG_GROWTH - 1e-9)
    return number if _LOWEST <= number <= _HIGHEST else _LOWEST if number < _LOWEST else _HIGHEST


def upper_bound(number: int) -> float:
    """The largest value in a bucket."""
    return 0.0 if number == ZERO else GROWTH**number


def in_groups(values: ValuesByGroup) -> list[Buckets]:
    """The values of each group of users; first those whose user is not known."""
    found: list[Buckets] = [{} for _ in range(1 + USER_GROUPS)]
    for key, count in values.items():
        if _FIRST_KEY <= key <= _LAST_KEY:
            group, number = divmod(key - _FIRST_KEY, _GROUP)
            found[group][number + _FIRST_KEY] = count
    return found


def of_all(values: ValuesByGroup) -> Buckets:
    """The values of all users."""
    found: Buckets = {}
    for key, count in values.items():
        if _FIRST_KEY <= key <= _LAST_KEY:
            number = (key - _FIRST_KEY) % _GROUP + _FIRST_KEY
            found[number] = found.get(number, 0) + count
    return found


DURATION, ABANDONED = "duration", "abandoned"
"""Keys of ``VersionEvidence.values`` beside the metrics of guards, in seconds: from a request to the end of its answer,
which was whole; and for how long clients waited for the first token, of observed answers, and then left."""


class VersionEvidence(msgspec.Struct):
    """What is known of one version's requests. Every request counts once, whatever share of answers is observed; those
    that are the client's own doing do not: answered with 4xx or an error of that kind, or left.
    """

    requests: int = 0
    failures: int = 0
    """Of ``requests``: failed by their status, or by what Envoy says of their end."""
    answers: int = 0
    """Answers that were read: all, or a sample."""
    answer_failures: int = 0
    """Of ``answers``: an error in a stream of status 200, or no end."""
    failures_by_user: dict[str, int] = {}
    answer_failures_by_user: dict[str, int] = {}
    """The same of those whose user is known (``Decision.user``)."""
    values: dict[str, ValuesByGroup] = {}
    """By metric: seconds, or tokens."""

    def fail(self, user: str) -> None:
        """Counts a failure of a request."""
        self.failures += 1
        _count(self.failures_by_user, user)

    def fail_in_answer(self, user: str) -> None:
        """Counts a failure of an answer."""
        self.answer_failures += 1
        _count(self.answer_failures_by_user, user)

    def note(self, metric: str, value: float, user: str = "") -> None:
        """Counts a value of one of ``VALUES``. ``user``: ``Decision.user``."""
        counts = self.values.get(metric)
        if counts is None:
            counts = self.values[metric] = {}
        key = bucket(value) + _GROUPS.get(user, 0)
        counts[key] = counts.get(key, 0) + 1

    def add(self, other: VersionEvidence) -> None:
        """Adds ``other``."""
        self.requests += other.requests
        self.failures += other.failures
        self.answers += other.answers
        self.answer_failures += other.answer_failures
        _add(self.failures_by_user, other.failures_by_user)
        _add(self.answer_failures_by_user, other.answer_failures_by_user)
        for metric, theirs in other.values.items():
            _add(self.values.setdefault(metric, {}), theirs)

    def since(self, earlier: VersionEvidence) -> VersionEvidence:
        """What was counted since ``earlier``, of the same process."""
        return VersionEvidence(
            self.requests - earlier.requests,
            self.failures - earlier.failures,
            self.answers - earlier.answers,
            self.answer_failures - earlier.answer_failures,
            _more(self.failures_by_user, earlier.failures_by_user),
            _more(self.answer_failures_by_user, earlier.answer_failures_by_user),
            {metric: _more(values, earlier.values.get(metric, {})) for metric, values in self.values.items()},
        )

    def copy(self) -> VersionEvidence:
        """Another with the same counts."""
        found = VersionEvidence()
        found.add(self)
        return found


def _count(by_user: dict[str, int], user: str) -> None:
    """No more words than there are, whatever an access log tells."""
    if user and (user in by_user or len(by_user) < USERS):
        by_user[user] = by_user.get(user, 0) + 1


def _add(ours: dict[K, int], theirs: dict[K, int]) -> None:
    for key, count in theirs.items():
        ours[key] = ours.get(key, 0) + count


def _more(now: dict[K, int], earlier: dict[K, int]) -> dict[K, int]:
    """Of the keys whose counts have changed: few, from one look to the next."""
    return {key: count - earlier.get(key, 0) for key, count in now.items() if count != earlier.get(key, 0)}


VALUES = (FIRST_TOKEN, PER_TOKEN, OUTPUT_TOKENS, DURATION, ABANDONED)
"""Of what values are kept."""
EvidenceByVersion: TypeAlias = dict[str, VersionEvidence]


class Look(msgspec.Struct, frozen=True):
    """What a guard showed at one time."""

    at: float
    """Unix time."""
    value: float | None
    """The new version's rate, quantile, ratio, or the query's value; None: not known."""


class GuardRecord(msgspec.Struct):
    """A guard of a step: its last verdict, and its values since the step began, older ones thinned out."""

    label: str
    word: str = "waiting"
    reason: str = ""
    value: float | None = None
    outside: int = 0
    """Looks in a row at which a query's value was out of bounds."""
    looks: list[Look] = []


class StepEvidence(msgspec.Struct):
    """Everything measured in one step of one policy's rollout."""

    policy: str
    since: float
    """``RolloutState.since`` of the step."""
    measured: float = 0.0
    """Seconds for which all processors were heard."""
    versions: EvidenceByVersion = {}
    guards: list[GuardRecord] = []
    fault: str = ""
    """Why the last look at it failed; empty: it did not."""
