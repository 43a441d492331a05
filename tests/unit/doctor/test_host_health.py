"""Why Envoy does not use an endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.doctor.host_health import unusable


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({}, []),
        ({"health_status": {"eds_health_status": "HEALTHY"}}, []),
        ({"health_status": {"failed_active_health_check": True}}, ["failed active health check"]),
        ({"health_status": {"eds_health_status": "DRAINING"}}, ["it is DRAINING"]),
        ({"stats": [{"name": "cx_connect_fail", "value": "2"}]}, ["no connection, 2 failed"]),
        ({"stats": [{"name": "cx_connect_fail", "value": "2"}, {"name": "cx_active", "value": "1"}]}, []),
        ({"stats": "nonsense", "health_status": 7}, []),
    ],
)
def test_what_envoy_says(host: dict[str, Any], why: list[str]) -> None:
    assert unusable(host) == why
