"""WasmPlugin and TrafficExtension: under which names proxies have their filters.

Of istio/istio, pilot/pkg/model/extensions.go: the name follows from namespace and name, and its beginning has changed
twice; from 1.30 on a WasmPlugin is translated into a TrafficExtension.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from extproc.lint.manifest import Resource

_WASM = (
    ("extenstions.istio.io/wasmplugin/{}", "Istio 1.25 and older"),
    ("extensions.istio.io/wasmplugin/{}", "Istio 1.26 to 1.29"),
    ("extensions.istio.io/trafficextension/{}~istio-translated-wasmplugin", "Istio 1.30 and newer"),
)
"""The misspelling in the first is Istio's own."""
_TRAFFIC_EXTENSION = (("extensions.istio.io/trafficextension/{}", "Istio 1.30 and newer"),)
_FILTER_NAME = re.compile(
    r"ext(?:ens|enst)ions\.istio\.io/(?:wasmplugin|trafficextension)/(?P<name>[^/~]+?)(?P<wasm>~istio-translated-wasmplugin)?"
)


class Extension(msgspec.Struct, frozen=True):
    """A filter that an extension makes in the proxies of some releases."""

    filter_name: str
    releases: str
    of: str
    """The extension, as ``KIND NAMESPACE.NAME``."""
    phase: str
    """AUTHN, AUTHZ, STATS; empty for right before the router."""


def filters(resource: Resource) -> Iterator[Extension]:
    """The filter of an extension under each of its names."""
    place = f"{resource.namespace}.{resource.name}"
    phase = resource.spec.at("phase").text.removeprefix("UNSPECIFIED_PHASE")
    for shape, releases in _WASM if resource.kind == "WasmPlugin" else _TRAFFIC_EXTENSION:
        yield Extension(shape.format(place), releases, f"{resource.kind} {place}", phase)


def extension_of(filter_name: str) -> str:
    """Which extension a filter of this name would be of, as ``NAMESPACE.NAME``; empty where it is of none."""
    found = _FILTER_NAME.fullmatch(filter_name)
    return found["name"] if found else ""
