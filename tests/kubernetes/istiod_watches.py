"""Whether istiod hears of what is written now.

After an outage of the API server each of its watches comes back by itself, the last up to a minute later. Whoever saw
the outage waits (``extproc.kubernetes.outage``); what is started after it can't know of it.
"""

from __future__ import annotations

import json
from http.client import HTTPConnection
from itertools import count
from typing import Any

import yaml

from tests.kubernetes.control_plane import ISTIOD_ADDRESS, ControlPlane
from tests.waiting import until

LONGEST = 90
"""Seconds."""
_NUMBERS = count(1)
_HOST = "mark.invalid"
_PORT = {"number": 80, "name": "http", "protocol": "HTTP"}
_ROUTE = {"route": [{"destination": {"host": _HOST}}]}
_SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("networking.istio.io/v1", "ServiceEntry"): {"hosts": [_HOST], "ports": [_PORT], "resolution": "NONE"},
    ("networking.istio.io/v1", "DestinationRule"): {"host": _HOST},
    ("networking.istio.io/v1", "VirtualService"): {"hosts": [_HOST], "http": [_ROUTE]},
    ("networking.istio.io/v1alpha3", "EnvoyFilter"): {"workloadSelector": {"labels": {"app": "nobody"}}},
    ("telemetry.istio.io/v1", "Telemetry"): {"selector": {"matchLabels": {"app": "nobody"}}},
}


def wait_for_istiod(control_plane: ControlPlane) -> None:
    """Waits until istiod has an object of each kind that is written now."""
    name = f"mark-{next(_NUMBERS)}"
    head = {"metadata": {"name": name, "namespace": "default"}}
    marks = [head | {"apiVersion": version, "kind": kind, "spec": spec} for (version, kind), spec in _SPECS.items()]
    control_plane.apply(*marks)
    wanted = {kind for _, kind in _SPECS}
    until(lambda: {kind for kind, named in _known() if named == name} == wanted, LONGEST, pause=0.2)
    control_plane.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(marks))


def _known() -> list[tuple[str, str]]:
    """Kind and name of each object that istiod has."""
    # It tells nobody but those who ask from loopback.
    connection = HTTPConnection(ISTIOD_ADDRESS, 18080, timeout=20, source_address=("127.0.0.1", 0))
    try:
        connection.request("GET", "/debug/configz")
        found = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return [(one["kind"], one["metadata"]["name"]) for one in found]
