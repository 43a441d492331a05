"""How a policy's rollout is to go, and how far it has come."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

PROGRESSING: Final = "Progressing"
PAUSED: Final = "Paused"
ROLLING_BACK: Final = "RollingBack"
FAILED: Final = "Failed"
COMPLETED: Final = "Completed"
Phase: TypeAlias = Literal["Progressing", "Paused", "RollingBack", "Failed", "Completed"]
MEASURED: frozenset[Phase] = frozenset((PROGRESSING, PAUSED))
"""Phases in which guards are judged."""
ENDED: frozenset[Phase] = frozenset((FAILED, COMPLETED))

DEFAULT_STEPS = (1, 5, 25, 50, 100)
EXPONENTIAL_STEPS = (1, 2, 4, 8, 16, 32, 64, 100)
"""Percent of the requests that the weights distribute."""
DEFAULT_INTERVAL = 300.0
"""Seconds."""
DEFAULT_MIN_REQUESTS = 200
DEFAULT_PROMETHEUS = "http://localhost:9090"
"""Where Prometheus itself listens by default."""

ERRORS = "errors"
FIRST_TOKEN = "timeToFirstToken"  # noqa: S105 - no password
PER_TOKEN = "timePerOutputToken"  # noqa: S105
OUTPUT_TOKENS = "outputTokens"
METRICS = (ERRORS, FIRST_TOKEN, PER_TOKEN, OUTPUT_TOKENS)
"""What guards can look at, but for queries."""


def quantity(metric: str, value: float, digits: int = 6) -> str:
    """A value of ``FIRST_TOKEN``, ``PER_TOKEN`` or ``OUTPUT_TOKENS`` with its unit."""
    if metric == OUTPUT_TOKENS:
        return f"{value:.0f} tokens"
    return f"{value:.{digits}g}s" if value >= 1 else f"{1000 * value:.{digits}g}ms"


class Guard(msgspec.Struct, frozen=True):
    """What must hold of the new version. Of the bounds, exactly one is set (of a query, one or two)."""

    metric: str = ""
    """One of ``METRICS``; empty: ``promql`` says it."""
    promql: str = ""
    quantile: float = 0.0
    """0 to 1, of times and tokens."""
    maximum: float | None = None
    """A share from 0 to 1 of ``errors``, seconds of times."""
    minimum: float | None = None
    """Tokens, or the query's own unit."""
    relative_to: str = ""
    """The version with whose quantile that of the new one is compared."""
    max_ratio: float | None = None
    min_ratio: float | None = None

    @property
    def label(self) -> str:
        """The guard in words, as status and metrics name it."""
        if self.promql:
            bounds = [f"≥ {self.minimum:g}"] if self.minimum is not None else []
            bounds += [f"≤ {self.maximum:g}"] if self.maximum is not None else []
            return f"{self.promql} {' and '.join(bounds)}"
        if self.metric == ERRORS:
            return f"errors ≤ {100 * (self.maximum or 0):g}%"
        name = f"{self.metric} p{100 * self.quantile:g}"
        if self.max_ratio is not None:
            return f"{name} ≤ {self.max_ratio:g} times {self.relative_to}"
        if self.min_ratio is not None:
            return f"{name} ≥ {self.min_ratio:g} times {self.relative_to}"
        return (
            f"{name} ≤ {quantity(self.metric, self.maximum)}"
            if self.maximum is not None
            else f"{name} ≥ {self.minimum:g}"
        )


class RolloutPlan(msgspec.Struct, frozen=True):
    """``spec.rollout``."""

    to: str
    """The new version. It gets the share of the step, the others what is left, in proportion to their weights."""
    guards: tuple[Guard, ...]
    steps: tuple[int, ...] = DEFAULT_STEPS
    """Percent, ascending; the last is 100."""
    interval: float = DEFAULT_INTERVAL
    """Seconds of a step at the least."""
    min_requests: int = DEFAULT_MIN_REQUESTS
    """Of a step, for each version that a guard looks at, before the next step."""
    rolls_back: bool = True
    """What follows where a guard is broken: back to 0 percent, or a pause at the step's share."""
    prometheus: str = DEFAULT_PROMETHEUS
    """Base URL of the server that answers ``promql``."""


class Move(msgspec.Struct, frozen=True):
    """A change of phase or share, and why."""

    at: float
    """Unix time."""
    phase: Phase
    percent: int
    reason: str


class RolloutState(msgspec.Struct, frozen=True):
    """How far the rollout of a policy has come: all that its weights in force depend on beside the policy."""

    policy: str
    to: str
    phase: Phase
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)]
    """Share in force of ``to``."""
    since: float
    """When this step began, in Unix time: what was measured before does not count in it."""
    serving: str = ""
    """The version that an earlier rollout was completed to, which serves in the place of those that have weights."""
    moves: tuple[Move, ...] = ()
    """The last ones, the newest last."""
