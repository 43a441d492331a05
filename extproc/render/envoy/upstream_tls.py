"""TLS from Envoy to model servers: server name, authorities, Envoy's own certificate.

A target whose servers have one name has one transport socket; otherwise each name has one, chosen by the endpoint's
metadata, so that a server is never taken for another one of the target.
"""

from __future__ import annotations

from extproc.policy.target import Target
from extproc.policy.upstream import Tls
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import EnvoyOptions, is_ip, typed
from extproc.render.envoy.secrets import Secret, secret_source

_MATCH = "envoy.transport_socket_match"
"""Namespace of endpoint metadata by which Envoy chooses among ``transport_socket_matches``."""


def transport_sockets(target: Target, options: EnvoyOptions, *, grpc: bool, alpn: str = "") -> Doc:
    """The fields of the target's cluster that make it speak TLS; none where it does not. ``grpc``: to its servers for
    gRPC. ``alpn``: the only protocol; empty: the cluster leaves the choice to the server.
    """
    tls, names = target.upstream.tls, target.server_names(grpc=grpc)
    if tls is None:
        return {}
    first = {"transport_socket": _socket(tls, names[0], options, alpn)}
    if len(names) == 1:
        return first
    matches = [
        {"name": name, "match": {"name": name}, "transport_socket": _socket(tls, name, options, alpn)} for name in names
    ]
    # Every endpoint has a match; Envoy's check that ALPN can be spoken looks at the socket without one.
    return first | {"transport_socket_matches": matches}


def endpoint_fields(target: Target, endpoint: str, *, grpc: bool) -> tuple[Doc, Doc]:
    """Fields of the cluster's Endpoint, and of the LbEndpoint around it. The host name is for ``auto_host_rewrite``."""
    tls = target.upstream.tls
    if tls is None:
        return {}, {}
    name = tls.name_of(endpoint)
    several = len(target.server_names(grpc=grpc)) > 1
    metadata = {"metadata": {"filter_metadata": {_MATCH: {"name": name}}}} if several else {}
    return {"hostname": f"[{name}]" if ":" in name else name}, metadata


def secrets_of(target: Target) -> list[Secret]:
    """Those that the files of its TLS hold."""
    tls = target.upstream.tls or Tls()
    found = [Secret("authority", (tls.ca_file,))] if tls.ca_file else []
    found += [Secret("certificate", (tls.cert_file, tls.key_file))] if tls.cert_file else []
    return found


def _socket(tls: Tls, name: str, options: EnvoyOptions, alpn: str) -> Doc:
    # Where the cluster leaves the choice to ALPN, Envoy offers both by itself.
    common: Doc = {"alpn_protocols": [alpn]} if alpn else {}
    if tls.cert_file:
        own = Secret("certificate", (tls.cert_file, tls.key_file))
        files = {"certificate_chain": {"filename": tls.cert_file}, "private_key": {"filename": tls.key_file}}
        source = secret_source(own, options)
        common |= {"tls_certificate_sds_secret_configs": [source]} if source else {"tls_certificates": [files]}
    return typed(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context=common | _validation(tls, name, options),
        **({} if is_ip(name) else {"sni": name}),  # RFC 6066 §3: no addresses
    )


def _validation(tls: Tls, name: str, options: EnvoyOptions) -> Doc:
    if not tls.verify:
        return {"validation_context": {"trust_chain_verification": "ACCEPT_UNTRUSTED"}}
    kind = "IP_ADDRESS" if is_ip(name) else "DNS"
    names = {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}]}
    source = secret_source(Secret("authority", (tls.ca_file,)), options) if tls.ca_file else None
    if source is None:
        return {"validation_context": names | {"trusted_ca": {"filename": tls.ca_file or options.authorities}}}
    return {
        "combined_validation_context": {
            "default_validation_context": names,
            "validation_context_sds_secret_config": source,
        }
    }
