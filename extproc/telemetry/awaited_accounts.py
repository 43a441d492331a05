"""Answers that were broken off, and by whom, or that Envoy gave itself, and why: its account of the request knows.

Envoy sends the account within 0.2 s of the end, and closes the observer's stream up to ``DEFERRED_CLOSE_TIMEOUT`` after
it (``exchange.observe``): either may be the first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

import msgspec

from extproc.exchange.notes import BROKEN_OFF, Observed, RequestAccount

MAX_WAIT = 1.5
"""Seconds that either waits for the other."""
MAX_AWAITED = 1_000
"""Answers that wait for their accounts, and accounts that wait for their answers."""

Ended: TypeAlias = tuple[float, Observed | RequestAccount]
"""The time at which it was noted, and what ended."""


class AwaitedAccounts:
    """Holds back answers that were broken off, or failed by their status, until their accounts have come.

    Times are seconds of one clock. Where it is set back, nothing waits any longer.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[str, tuple[float, Observed]] = OrderedDict()
        """By the request's id, the oldest first, as are the others."""
        self._reasons: OrderedDict[str, tuple[float, RequestAccount]] = OrderedDict()

    def take(self, now: float, note: Observed | RequestAccount) -> list[Ended]:
        """What can be shown now that ``note`` has come: itself, the answer that it explains, and what is overdue.

        The account of an observed request is never shown itself; it may be left out where it has
        no ``failure`` and no status of the server's fault.
        """
        shown = self.overdue(now)
        if isinstance(note, RequestAccount):
            return [*shown, *(self.explain(now, note) if note.observed else [(now, note)])]
        known = self._reasons.pop(note.request_id, None)
        if not (note.accounted and note.request_id and _needs_reason(note)):
            shown.append((now, note))
        elif known is not None:
            shown.append((now, _explained(note, known[1])))
        else:
            if (same := self._answers.pop(note.request_id, None)) is not None:
                shown.append(same)
            self._answers[note.request_id] = now, note
            if len(self._answers) > MAX_AWAITED:
                shown.append(self._answers.popitem(last=False)[1])
        return shown

    def explain(self, now: float, account: RequestAccount) -> list[Ended]:
        """The answer that the account explains, if it has come; else the account waits for it."""
        held = self._answers.pop(account.request_id, None)
        if held is not None:
            return [(held[0], _explained(held[1], account))]
        if account.failure and account.request_id:
            self._reasons[account.request_id] = now, account
            self._reasons.move_to_end(account.request_id)
            if len(self._reasons) > MAX_AWAITED:
                self._reasons.popitem(last=False)
        return []

    def overdue(self, now: float) -> list[Ended]:
        """The answers that have waited for too long, as they were observed."""
        while self._reasons and not _waits(next(iter(self._reasons.values()))[0], now):
            self._reasons.popitem(last=False)
        shown: list[Ended] = []
        while self._answers and not _waits(next(iter(self._answers.values()))[0], now):
            shown.append(self._answers.popitem(last=False)[1])
        return shown

    def next_overdue(self, now: float) -> float | None:
        """Seconds until ``overdue`` has something to tell; None where nothing waits."""
        if not self._answers:
            return None
        return max(0.0, next(iter(self._answers.values()))[0] + MAX_WAIT - now)


def _needs_reason(observed: Observed) -> bool:
    return observed.error == BROKEN_OFF or (observed.code.startswith("5") and not observed.error)


def _waits(since: float, now: float) -> bool:
    return 0 <= now - since < MAX_WAIT


def _explained(observed: Observed, account: RequestAccount) -> Observed:
    """The answer with the reason of its account; as it was where that knows of none."""
    return msgspec.structs.replace(observed, error=account.failure) if account.failure else observed
