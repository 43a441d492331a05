"""Which of several controllers works: the one that holds a Lease, by the rules of client-go. Pure.

Source: Kubernetes' API ``coordination.k8s.io/v1``; client-go, package ``leaderelection``. Clocks of machines are never
compared: a Lease has expired when it has not changed for its duration by the clock of whoever watches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import msgspec

Object: TypeAlias = dict[str, Any]

DURATION = 10
"""Seconds after which a Lease that nobody renews is free: within 15 s another controller works."""
RENEW_LIMIT = 7.0
"""Seconds without a successful renewal after which the holder stops to work, before others may begin."""
PAUSE = 2.0
"""Seconds between two looks at the Lease, and between two renewals."""


class LostLead(Exception):  # noqa: N818 - named for what is so
    """Another controller may work by now: this one must not write."""


class Write(msgspec.Struct, frozen=True):
    """Write this Lease: create it, or replace the one of its ``metadata.resourceVersion``. Others may be faster."""

    lease: Object
    create: bool


class Election:
    """One controller's part in it. ``now``: seconds of a monotonic clock; ``wall``: the time, for the Lease's texts."""

    def __init__(self, identity: str, namespace: str, name: str) -> None:
        self.identity = identity
        self.namespace, self.name = namespace, name
        self._version = ""
        self._changed_at = 0.0
        self._renewed_at: float | None = None

    def leads(self, now: float) -> bool:
        """Whether this controller may write."""
        return self._renewed_at is not None and now - self._renewed_at < RENEW_LIMIT

    def check(self, now: float) -> None:
        """Raises ``LostLead`` where this controller may not write."""
        if not self.leads(now):
            raise LostLead("another controller may lead")

    def look(self, lease: Mapping[str, Any] | None, now: float, wall: float) -> Write | None:
        """What to do about the Lease as it is (None: there is none); None: another controller has it."""
        if lease is None:
            return Write(self._lease({}, now=wall, taken=True, transitions=0), create=True)
        spec = lease.get("spec") or {}
        version = str(lease["metadata"].get("resourceVersion", ""))
        if version != self._version:
            self._version, self._changed_at = version, now
        holder = str(spec.get("holderIdentity") or "")
        transitions = int(spec.get("leaseTransitions") or 0)
        if holder == self.identity:
            return Write(self._lease(lease, now=wall, taken=False, transitions=transitions), create=False)
        self._renewed_at = None
        duration = float(spec.get("leaseDurationSeconds") or DURATION)
        if holder and now - self._changed_at < duration:
            return None
        return Write(self._lease(lease, now=wall, taken=True, transitions=transitions + 1), create=False)

    def wrote(self, lease: Mapping[str, Any], now: float) -> None:
        """A ``Write`` has succeeded. ``lease``: as the server has it; ``now``: when the request was sent."""
        self._version = str(lease["metadata"].get("resourceVersion", ""))
        self._changed_at = self._renewed_at = now

    def released(self, lease: Mapping[str, Any]) -> Object | None:
        """The Lease without its holder, to write at an orderly end; None where it is another's."""
        if (lease.get("spec") or {}).get("holderIdentity") != self.identity:
            return None
        self._renewed_at = None
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        return {**lease, "spec": spec}

    def _lease(self, old: Mapping[str, Any], *, now: float, taken: bool, transitions: int) -> Object:
        text = _micro_time(now)
        spec = {
            **(old.get("spec") or {}),
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION,
            "renewTime": text,
            "leaseTransitions": transitions,
        }
        if taken:
            spec["acquireTime"] = text
        metadata = dict(old["metadata"]) if old else {"namespace": self.namespace, "name": self.name}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _micro_time(wall: float) -> str:
    """Kubernetes' MicroTime: RFC 3339 with six digits."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=wall)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
