"""What a proxy does with rendered Istio objects: which version a request with the processor's headers reaches.

Only what the renderer writes is understood: exact and regular expressions on headers, one destination or weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from extproc.render.istio.istio_options import DOMAIN

Doc = Mapping[str, Any]


class NotServedError(Exception):
    """No route, or no subset for it."""


def destinations(objects: Iterable[Doc], host: str, headers: Mapping[str, str]) -> list[dict[str, str]]:
    """The labels of the pods that a request to ``host`` may reach; none where the route answers 503 by itself.

    Raises ``NotServedError``.
    """
    known = list(objects)
    for entry in _routes(known, host):
        if _matches(entry, headers):
            return [_labels(known, share["destination"]) for share in entry.get("route", ())]
    raise NotServedError(f"no route for {dict(headers)} at {host}")


def _routes(objects: Iterable[Doc], host: str) -> Iterable[Doc]:
    for doc in objects:
        if doc["kind"] == "VirtualService" and host in doc["spec"]["hosts"]:
            routes: list[Doc] = doc["spec"]["http"]
            return routes
    raise NotServedError(f"no VirtualService for {host}")


def _matches(entry: Doc, headers: Mapping[str, str]) -> bool:
    return any(
        all(_equal(wanted, headers.get(name)) for name, wanted in match["headers"].items())
        for match in entry.get("match", [{"headers": {}}])
    )


def _equal(wanted: Doc, value: str | None) -> bool:
    if value is None:
        return False
    if "exact" in wanted:
        return bool(value == wanted["exact"])
    if "regex" in wanted:
        return re.fullmatch(wanted["regex"], value) is not None
    return value.startswith(wanted["prefix"])


def _labels(objects: Iterable[Doc], destination: Doc) -> dict[str, str]:
    host, name = destination["host"], destination.get("subset")
    if name is None:
        return {}
    for doc in objects:
        if doc["kind"] == "DestinationRule" and doc["spec"]["host"] == host:
            for subset in doc["spec"].get("subsets", ()):
                if subset["name"] == name:
                    _check_endpoints(objects, host, subset["labels"])
                    return dict(subset["labels"])
    raise NotServedError(f"{host} has no subset {name}")


def _check_endpoints(objects: Iterable[Doc], host: str, labels: Mapping[str, str]) -> None:
    """A ServiceEntry must be there, with an endpoint of the subset; other hosts are Services, which always are."""
    if not host.endswith(DOMAIN):
        return
    entries = [doc for doc in objects if doc["kind"] == "ServiceEntry" and host in doc["spec"]["hosts"]]
    if not any(labels.items() <= e["labels"].items() for doc in entries for e in doc["spec"]["endpoints"]):
        raise NotServedError(f"{host} has no endpoint with {dict(labels)}")
