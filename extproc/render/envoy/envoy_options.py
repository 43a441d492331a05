"""Options of a rendered Envoy that no policy has: addresses, switches, limits; and how Envoy writes common values."""

from __future__ import annotations

import ipaddress
from typing import Literal, TypeAlias

import msgspec

from extproc.errors import SetupError
from extproc.render.document import Doc

NAMESPACE = "aimesh"
"""Namespace of our dynamic metadata; also the prefix of our names in Envoy's statistics."""
ROUTE_FILTER = f"{NAMESPACE}.route"
OBSERVE_FILTER = f"{NAMESPACE}.observe"
PROCESSOR = f"{NAMESPACE}-processor"
"""Name of the processors' cluster."""
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian, Alpine and Envoy's own images have the authorities that the system trusts."""

Body: TypeAlias = Literal["buffered", "streamed", "native"]


class DownstreamTls(msgspec.Struct, frozen=True):
    """TLS to clients. Files are PEM, on Envoy's machine."""

    cert_file: str
    """With its chain."""
    key_file: str
    client_ca_file: str = ""
    """Authorities of which clients need a certificate; empty: they need none."""


class EnvoyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one Envoy. Addresses are ``host:port``, a processor's also ``unix:///path``."""

    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:9901"
    """Envoy's admin port, which can stop Envoy and shows its configuration: keep it on loopback."""
    processors: tuple[str, ...] = ("127.0.0.1:50051",)
    """Endpoints of one cluster; each stream goes to the one with the fewest."""
    cluster: str = PROCESSOR
    """Name of that cluster; in a mesh, the mesh's own."""
    body: Body = "buffered"
    """How request bodies reach the processor; see ``route_filter``."""
    fail_open: bool = True
    """Without a processor requests are split by weight; otherwise the client gets 503."""
    observe: bool = True
    """Add the filter that times responses; Envoy does not wait for it."""
    tracing: bool = False
    """Send ``traceparent`` to the observing filter, for the processor's spans (`serve --otlp`). An Envoy that traces
    sends its own trace context whatever this says."""
    behind_linkerd: bool = False
    """Send ``l5d-client-id`` to the observing filter. Only behind Linkerd's proxy, which sets it to the authenticated
    client; anywhere else a client can forge it."""
    message_timeout: float | None = None
    """Seconds that the processor has for an answer. None: 1 where bodies are buffered; 10 where they are streamed,
    since then a client's pause between two chunks counts too (each chunk restarts the timer)."""
    access_log: str = "/dev/stdout"
    """Path of a file; empty: no access log."""
    heap: int = 2 << 30
    """Maximum heap in bytes: room for some 200 bodies of 8 MiB. Must be less than the container's memory."""
    authorities: str = SYSTEM_AUTHORITIES
    """File with the authorities that may issue model servers' certificates, where the policy names none."""
    downstream_tls: DownstreamTls | None = None
    """None: clients speak HTTP. Needs ``discovery_directory``."""
    discovery_directory: str = ""
    """Directory of files that Envoy watches for changes (xDS); empty: everything is in one static document."""

    @property
    def verifies_clients(self) -> bool:
        """Whether Envoy itself asks clients for certificates, whose names need be no URIs as in a mesh."""
        return self.downstream_tls is not None and bool(self.downstream_tls.client_ca_file)

    @property
    def effective_message_timeout(self) -> float:
        """``message_timeout`` in seconds, with its default filled in."""
        if self.message_timeout is not None:
            return self.message_timeout
        return 10.0 if self.body == "streamed" else 1.0


def host_port(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[IPv6]:port``. Raises ``SetupError``."""
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


def is_own_machine(host: str) -> bool:
    """Whether it leads whoever dials ``host`` to itself: loopback, or the unspecified address."""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return number.is_loopback or number.is_unspecified


def address(text: str) -> Doc:
    """``text`` as an Envoy Address: a socket address or a pipe. Raises ``SetupError``."""
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:").removeprefix("//")}}
    host, port = host_port(text)
    return {"socket_address": {"address": host, "port_value": port}}


def discovery_source(directory: str, file: str) -> Doc:
    """The ConfigSource of resources in a file that Envoy reads again once it was replaced by a rename."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{directory}/{file}", "watched_directory": {"path": directory}},
    }


def seconds(value: float) -> str:
    """A duration in seconds as protobuf's JSON writes it: ``1.5s``."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def typed(name: str, proto: str, **fields: object) -> Doc:
    """A TypedExtensionConfig; ``proto``: the message's name without ``envoy.``."""
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.{proto}", **fields}}


def request_mode(body: str) -> Doc:
    """Processing mode of ``aimesh.route``: request headers, the body in mode ``body``, nothing of the response."""
    return {
        "request_header_mode": "SEND",
        "request_body_mode": body,
        "request_trailer_mode": "SKIP",
        "response_header_mode": "SKIP",
        "response_body_mode": "NONE",
        "response_trailer_mode": "SKIP",
    }


def skipped_where(predicate: Doc, inner: Doc) -> Doc:
    """The HTTP filter ``inner``, skipped for requests of which ``predicate`` holds."""
    skip = typed("skip", "extensions.filters.common.matcher.action.v3.SkipFilter")
    return typed(
        inner["name"],
        "extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config=inner,
        xds_matcher={"matcher_list": {"matchers": [{"predicate": predicate, "on_match": {"action": skip}}]}},
    )


def avoid_previous_hosts() -> Doc:
    """Fields of a retry policy: no retry on a host that this request was already sent to."""
    previous = typed(
        "envoy.retry_host_predicates.previous_hosts", "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    )
    return {"retry_host_predicate": [previous], "host_selection_retry_max_attempts": 20}
