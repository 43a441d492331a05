"""Patches of EnvoyFilters against the full API of Envoy (`envoy-data-plane`): a field that it doesn't know, a word that
is none of an enum's, a duration that is none: each raises. istiod would drop it and say nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_OF = {
    "LISTENER": "envoy.config.listener.v3.Listener",
    "NETWORK_FILTER": "envoy.config.listener.v3.Filter",
    "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    "VIRTUAL_HOST": "envoy.config.route.v3.VirtualHost",
    "HTTP_ROUTE": "envoy.config.route.v3.Route",
    "CLUSTER": "envoy.config.cluster.v3.Cluster",
}
"""What the value of a patch is."""
_UNREADABLE = ("enforcing_consecutive_5xx",)
"""Fields that the library has and does not find by their names. A real Envoy takes them (tests/envoy)."""


def problems(envoy_filter: dict[str, Any]) -> list[str]:
    """What is wrong with the patches' values."""
    found = []
    for i, patch in enumerate(envoy_filter["spec"]["configPatches"]):
        value = patch["patch"]["value"]
        try:
            for name in _types(value):
                _message(name)  # known from now on to whoever unpacks an Any
            _message(_OF[patch["applyTo"]]).from_dict(_without_unreadable(value))
        except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
            found.append(f"configPatches[{i}]: {type(error).__name__}: {error}")
    return found


def _without_unreadable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_unreadable(inner) for key, inner in value.items() if key not in _UNREADABLE}
    return [_without_unreadable(inner) for inner in value] if isinstance(value, list) else value


def _message(name: str) -> Any:
    package, _, message = name.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(import_module(f"envoy_data_plane.{package}"), message)


def _types(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "@type" in value:
            yield value["@type"].removeprefix("type.googleapis.com/")
        for inner in value.values():
            yield from _types(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _types(inner)
