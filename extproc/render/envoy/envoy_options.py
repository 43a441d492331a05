"""What a rendered Envoy is told beside the policy: addresses and switches."""

from __future__ import annotations

import ipaddress
from typing import Literal, TypeAlias

import msgspec

from extproc.errors import SetupError
from extproc.render.document import Doc

NAMESPACE = "aimesh"
"""Of the dynamic metadata; the first part of every name that Envoy's statistics show of us too."""
ROUTE_FILTER = f"{NAMESPACE}.route"
OBSERVE_FILTER = f"{NAMESPACE}.observe"
PROCESSOR = f"{NAMESPACE}-processor"
"""Name of the processors' cluster."""

Body: TypeAlias = Literal["buffered", "streamed", "native"]


class EnvoyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy does not say. Addresses are ``host:port``, a processor's also ``unix:///path``."""

    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:9901"
    """Envoy's own admin port: it can stop Envoy and shows everything, so keep it on loopback."""
    processors: tuple[str, ...] = ("127.0.0.1:50051",)
    """Several are endpoints of one cluster; each stream goes to the least busy one."""
    cluster: str = PROCESSOR
    """Name of that cluster, where a mesh gives it another."""
    body: Body = "buffered"
    """How the body comes to the processor; see docs of ``route_filter``."""
    fail_open: bool = True
    """Without the processor requests go to the default policy by weight; otherwise the client gets 503."""
    observe: bool = True
    """Time the responses (a second filter, off the critical path)."""
    tracing: bool = False
    """Show the observing filter a request's trace context, for the processor's spans (`serve --otlp`). An Envoy that
    traces by itself tells its own context anyway."""
    behind_linkerd: bool = False
    """Linkerd's proxy stands in front and names the client in ``l5d-client-id``, having removed what the client says
    there itself: show it to the observing filter. Anywhere else that header is a client's own claim."""
    message_timeout: float | None = None
    """Seconds for an answer of the processor. None: 1 where the body is buffered, 10 where it is streamed:
    there a client that pauses while it sends the body counts too (each chunk starts the clock anew)."""
    access_log: str = "/dev/stdout"
    """A file; empty: none."""
    heap: int = 2 << 30
    """Bytes that Envoy may hold, some 200 bodies of 8 MiB beside all else: less than its container has."""

    @property
    def effective_message_timeout(self) -> float:
        """The message timeout with its default filled in."""
        if self.message_timeout is not None:
            return self.message_timeout
        return 10.0 if self.body == "streamed" else 1.0


def host_port(address: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` in its parts."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or not host:
        raise SetupError(f"{address!r} is not an address; write host:port, as in 127.0.0.1:8080")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_ip(host: str) -> bool:
    """Whether ``host`` needs no name resolution."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def address(text: str) -> Doc:
    """An address as Envoy writes it."""
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:").removeprefix("//")}}
    host, port = host_port(text)
    return {"socket_address": {"address": host, "port_value": port}}


def seconds(value: float) -> str:
    """A duration as Envoy writes it."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def typed(name: str, proto: str, **fields: object) -> Doc:
    """An extension: ``name`` is how Envoy's logs call it, ``proto`` the type below ``envoy.``."""
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.{proto}", **fields}}


def request_mode(body: str) -> Doc:
    """What the filter in the request's way is shown: the head, and the body as ``body`` says; no response."""
    return {
        "request_header_mode": "SEND",
        "request_body_mode": body,
        "request_trailer_mode": "SKIP",
        "response_header_mode": "SKIP",
        "response_body_mode": "NONE",
        "response_trailer_mode": "SKIP",
    }


def avoid_previous_hosts() -> Doc:
    """Of a retry policy: not to a server that this request has already met."""
    previous = typed(
        "envoy.retry_host_predicates.previous_hosts", "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    )
    return {"retry_host_predicate": [previous], "host_selection_retry_max_attempts": 20}
