"""Attributes that Envoy has, as CEL expressions and ext_proc's requests for attributes name them."""

from __future__ import annotations

from typing import TypeAlias

Path: TypeAlias = tuple[str, ...]
"""An attribute as it is read: ``request.headers['x-a']`` is ("request", "headers", "x-a")."""


_TLS = (
    *("tls_version", "subject_local_certificate", "subject_peer_certificate", "dns_san_local_certificate"),
    *("dns_san_peer_certificate", "uri_san_local_certificate", "uri_san_peer_certificate"),
    *("sha256_peer_certificate_digest", "transport_failure_reason"),
)
_REQUEST = "path url_path host scheme method referer headers time id useragent size total_size duration protocol query"
_RESPONSE = "code code_details trailers flags grpc_status headers size total_size backend_latency"
_XDS = (
    "node cluster_name cluster_metadata route_name route_metadata virtual_host_name virtual_host_metadata "
    "listener_direction listener_metadata filter_chain_name upstream_host_metadata upstream_host_locality_metadata"
)
_UPSTREAM = "address port local_address request_attempt_count cx_pool_ready_duration locality"
ATTRIBUTES: dict[str, frozenset[str] | None] = {
    "request": frozenset(_REQUEST.split()),
    "response": frozenset(_RESPONSE.split()),
    "source": frozenset(("address", "port")),
    "destination": frozenset(("address", "port")),
    "connection": frozenset((*_TLS, "id", "mtls", "requested_server_name", "termination_details")),
    "upstream": frozenset((*_TLS, *_UPSTREAM.split())),
    "xds": frozenset(_XDS.split()),
    "metadata": frozenset(("filter_metadata", "typed_filter_metadata")),
    "filter_state": None,
    "upstream_filter_state": None,
}
"""Envoy's attributes; None: any name."""


def known(path: Path) -> bool:
    """Whether Envoy has an attribute of this name."""
    root, *rest = path
    names = ATTRIBUTES.get(root, frozenset())
    return root in ATTRIBUTES and (names is None or not rest or rest[0] in names)
