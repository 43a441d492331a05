"""What Envoy's ``/clusters`` says of the health of one endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extproc.doctor.envoy_dump import at, rows

_UNUSABLE_FLAGS = ("failed_active_health_check", "failed_outlier_check", "pending_dynamic_removal")
_GONE_STATUSES = ("UNHEALTHY", "DRAINING", "TIMEOUT")
"""What the control plane may say of an endpoint."""


def unusable(host: Mapping[str, Any]) -> list[str]:
    """Why Envoy does not use an endpoint, or can't connect to it though it would; nothing where it can."""
    why = [reason.replace("_", " ") for reason in _UNUSABLE_FLAGS if at(host, "health_status", reason)]
    if (status := at(host, "health_status", "eds_health_status")) in _GONE_STATUSES:
        why.append(f"it is {status}")
    if failed := _unreachable(host):
        why.append(f"no connection, {failed} failed")
    return why


def _unreachable(host: Mapping[str, Any]) -> int:
    """How many connections failed, where there is none now."""
    numbers = {str(stat.get("name")): str(stat.get("value", "0")) for stat in rows(host, "stats")}
    active, failed = numbers.get("cx_active", "0"), numbers.get("cx_connect_fail", "0")
    return int(failed) if active == "0" and failed.isascii() and failed.isdecimal() else 0
