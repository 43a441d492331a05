"""The pipeline's services: their names, where they are, and what they record of requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from extproc import headers
from extproc.demo.model_servers import REQUEST_ID, USER_ID
from extproc.gateway.free_ports import free_addresses

CLIENT, GATEWAY = "client", "gateway"
PREPROCESS, FEATURES, ROUTER, POSTPROCESS = "preprocess", "feature-store", "model-router", "postprocess"
LLM, CLASSIFIER, HOSTED = "llm", "classifier", "hosted"
PROCESSOR = "extproc"
"""The service's name in the spans of the processor."""

SIDECARS = (PREPROCESS, FEATURES, POSTPROCESS, LLM, CLASSIFIER)
"""Services with an inbound listener before them. Gateway and router are listeners themselves."""
STAGES = (GATEWAY, PREPROCESS, FEATURES, ROUTER, LLM, CLASSIFIER, HOSTED, POSTPROCESS)
"""In the order in which a request meets them."""

TRACE_HEADERS = ("traceparent", "tracestate", "x-request-id")
"""What a service passes on, so that what it calls belongs to the same trace."""
PASSED_ON = (*TRACE_HEADERS, REQUEST_ID, USER_ID)


class Arrival(msgspec.Struct, frozen=True):
    """A request as it arrived at a service."""

    service: str
    request_id: str
    user: str
    routing: Mapping[str, tuple[str, ...]]
    """Every value of every routing header that was there."""
    keys: tuple[str, ...]
    """Every value of ``authorization``."""


def arrival(service: str, sent: Iterable[tuple[str, str]]) -> Arrival:
    """The request with these headers."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in sent:
        found[name.lower()].append(value)
    routing = {name: tuple(found[name]) for name in headers.ROUTING if name in found}
    first = {name: values[0] for name, values in found.items()}
    keys = tuple(found.get("authorization", ()))
    return Arrival(service, first.get(REQUEST_ID, ""), first.get(USER_ID, ""), routing, keys)


class Addresses(msgspec.Struct, frozen=True):
    """Where Envoy listens, as ``host:port`` on loopback: free when they were chosen."""

    admin: str
    gateway: str
    router: str
    outbound: str
    """Of preprocessing's calls to others."""
    inbound: Mapping[str, str]
    """Of each service with a sidecar."""


def free() -> Addresses:
    """New ones."""
    admin, gateway, router, outbound, *inbound = free_addresses(4 + len(SIDECARS))
    return Addresses(admin, gateway, router, outbound, dict(zip(SIDECARS, inbound, strict=True)))
