"""The order in which a change goes through the mesh, so that no request is sent to what is not there. Pure.

What comes is made first: endpoints and subsets, routes to them, filters; then processors decide by it. What goes is
left first: processors no longer decide for it, then its routes go, then what they led to. One pass does both, with
everything that either needs in between (``transition``).

The mesh says nowhere that a proxy has what was written, so each step that wrote something is followed by a settle
time. Measured on a real control plane (istiod 1.31, two proxies): docs/controller.md. istiod waits until changes have
paused for 0.1 s, for 10 s at the most (``PILOT_DEBOUNCE_AFTER``, ``PILOT_DEBOUNCE_MAX``). Processors follow within a
second, but after an outage of the API server nobody does (``outage``).

A pass that is broken off, at any point, is begun again from what is in force and what is there: every step leaves a
state from which that is right, a settle time later.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from extproc.kubernetes.mesh_objects import Layer

SETTLE = 2.0
"""Seconds after which the proxies have what was written, and processors decide by what is in force."""


class Wants(Enum):
    """Whose objects a step is about."""

    BOTH = "both"
    """Those of what is in force and of what is to be."""
    LATER = "later"
    """Those of what is to be."""


class Write(msgspec.Struct, frozen=True):
    """Make the objects of some layers as ``wants`` has them; ``remove``: what it does not have goes."""

    layers: tuple[Layer, ...]
    wants: Wants
    remove: bool = False


class PutInForce(msgspec.Struct, frozen=True):
    """Have processors decide by what is to be."""


Step = Write | PutInForce

STEPS: tuple[Step, ...] = (
    Write((Layer.BENEATH,), Wants.BOTH),
    Write((Layer.ROUTES,), Wants.BOTH),
    Write((Layer.FILTERS,), Wants.BOTH),
    PutInForce(),
    Write((Layer.PROCESSORS,), Wants.LATER, remove=True),
    Write((Layer.FILTERS, Layer.ROUTES), Wants.LATER, remove=True),
    Write((Layer.BENEATH,), Wants.LATER, remove=True),
)
"""Filters last before processors: their headers are of use only when those decide by them."""


class Pass:
    """One pass through ``STEPS`` after the other: says what to do, hears what was done, and waits where something was
    written.
    """

    def __init__(self, settle: float = SETTLE) -> None:
        """``settle`` in seconds."""
        self._settle = settle
        self._next = len(STEPS)
        self._due = 0.0

    def begin(self, now: float) -> None:
        """Begins with the first step. A pass that did not come to its end was broken off amid a step that may have
        written something: that settles first.
        """
        self._due = 0.0 if self.step is None else now + self._settle
        self._next = 0

    @property
    def step(self) -> Step | None:
        """What is to be done next; None: nothing is left."""
        return STEPS[self._next] if self._next < len(STEPS) else None

    def wait(self, now: float) -> float:
        """Seconds before ``step`` may be done. ``now``: of any one clock."""
        return max(0.0, self._due - now)

    def done(self, now: float, *, wrote: bool) -> None:
        """``step`` was done, and ``wrote`` something or found everything as it should be."""
        self._next += 1
        if wrote:
            self._due = now + self._settle
