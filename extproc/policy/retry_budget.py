"""How many retries requests may have."""

from __future__ import annotations

import msgspec


class RetryBudget(msgspec.Struct, frozen=True):
    """As Linkerd has it: retries may add ``ratio`` of the load, and ``min_per_second`` whatever the load."""

    ratio: float
    min_per_second: int
