"""A cumulative sum test: whether trials come to be bad more often than usual, told as soon as few trials allow.

Source: Page, "Continuous inspection schemes", Biometrika 41, 1954; the bound on false alarms is Lorden's, "Procedures
for reacting to a change in distribution", Annals of Mathematical Statistics 42, 1971.
"""

from __future__ import annotations

from math import log


class ChangeTest:
    """Tells when the share of bad trials has come to be ``now`` rather than ``usual``."""

    __slots__ = ("_bad", "_good", "_score", "_threshold")

    def __init__(self, usual: float, now: float, threshold: float) -> None:
        """``threshold``: e to its power is a lower bound of the mean number of trials to a false alarm."""
        self._bad, self._good = log(now / usual), log((1 - now) / (1 - usual))
        self._threshold, self._score = threshold, 0.0

    def note(self, bad: bool) -> bool:
        """Whether this trial raises the alarm."""
        self._score = max(0.0, self._score + (self._bad if bad else self._good))
        return self._score >= self._threshold

    def clear(self) -> None:
        """Begins anew."""
        self._score = 0.0
