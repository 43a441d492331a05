"""Service level objectives of a policy."""

from __future__ import annotations

import msgspec

DEFAULT_SLO_DAYS = 30
"""Days over which service level objectives hold, where the policy does not say."""


class Objective(msgspec.Struct, frozen=True):
    """``target`` percent of the requests take less than ``under`` seconds."""

    under: float
    """A bucket bound of the histogram that measures it."""
    target: float


class Slo(msgspec.Struct, frozen=True):
    """Service level objectives of each version of a policy; None: no objective."""

    availability: float | None = None
    """Percent of the requests that do not fail."""
    first_token: Objective | None = None
    duration: Objective | None = None
    days: int = DEFAULT_SLO_DAYS
    """The window."""
