"""VirtualService: timeouts and retries that hurt inference."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh, fqdn, routing

CUTS_STREAMS = Rule(
    "AIM205",
    "warning",
    "a timeout for the whole of a model's answer",
    "`timeout` counts until the last byte: a streamed answer (SSE) that takes longer is cut off in the middle.",
    "write timeout: 0s, and bound the wait for the first byte at the model server or the stream's idle time in Envoy",
)
RETRIES_TOO_LONG = Rule(
    "AIM206",
    "warning",
    "retries that the timeout leaves no time for",
    "`timeout` counts over all tries: the last of `attempts` + 1 tries of `perTryTimeout` each never ends.",
    "make (attempts + 1) x perTryTimeout fit into timeout",
)
COSTLY_RETRIES = Rule(
    "AIM207",
    "warning",
    "retries repeat inference that may be under way",
    "After `5xx`, `gateway-error`, `reset` or a status code the model may have computed half of the answer already: "
    "the GPU does it all again, when it can afford it least.",
    "write retryOn: connect-failure,refused-stream,unavailable,reset-before-request",
)

RULES = (CUTS_STREAMS, RETRIES_TOO_LONG, COSTLY_RETRIES)

_SAFE_RETRIES = (
    "connect-failure",
    "refused-stream",
    "unavailable",
    "cancelled",
    "reset-before-request",
    "resource-exhausted",
)
_INFERENCE_PATHS = ("/v1/", "/v2/models", "/api/chat", "/api/generate", "/predict", "/invocations")


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every VirtualService that routes inference."""
    for service in mesh.of("VirtualService"):
        if _about_models(service, mesh):
            for route in service.spec.at("http").items:
                yield from _timeouts_and_retries(route)


def _about_models(service: Resource, mesh: Mesh) -> bool:
    """Whether its routes look like inference: by a routing header, a path of an inference API, or whom they reach."""
    if any(map(mesh.serves_models, _reached(service))):
        return True
    for route in service.spec.at("http").items:
        for match in route.at("match").items:
            if any(map(routing, match.at("headers").entries)):
                return True
            if any(v.text.startswith(_INFERENCE_PATHS) for v in match.at("uri").entries.values()):
                return True
    return False


def _reached(service: Resource) -> Iterator[str]:
    """The full names of the hosts that its routes are for, or go to."""
    for host in service.spec.at("hosts").items:
        yield fqdn(host.text, service.namespace)
    for route in service.spec.at("http").items:
        for destination in route.at("route").items:
            yield fqdn(destination.at("destination", "host").text, service.namespace)


def _timeouts_and_retries(route: Value) -> Iterator[Finding]:
    timeout, retries = route.at("timeout"), route.at("retries")
    if timeout.seconds:
        yield timeout.breaks(CUTS_STREAMS)
    attempts, each = retries.at("attempts").number or 0, retries.at("perTryTimeout").seconds
    if attempts and each and timeout.seconds and (attempts + 1) * each > timeout.seconds:
        sum_ = f"{attempts + 1:g} tries of {each:g} s in a timeout of {timeout.seconds:g} s"
        yield retries.breaks(RETRIES_TOO_LONG, sum_)
    written = retries.at("retryOn")
    costly = [word.strip() for word in written.text.split(",") if word.strip() and word.strip() not in _SAFE_RETRIES]
    if attempts and costly:
        yield written.breaks(COSTLY_RETRIES, f"{', '.join(costly)}: repeats inference that may be under way")
