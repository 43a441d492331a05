"""TLS from clients to Envoy: its certificate, and the authorities that issue theirs. Both are watched for changes."""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import EnvoyOptions, typed
from extproc.render.envoy.secrets import Secret, secret_source


def downstream_secrets(options: EnvoyOptions) -> list[Secret]:
    """Those that the files of ``options.downstream_tls`` hold: the certificate, and the authorities where there are."""
    tls = options.downstream_tls
    if tls is None:
        return []
    found = [Secret("certificate", (tls.cert_file, tls.key_file))]
    return found + ([Secret("authority", (tls.client_ca_file,))] if tls.client_ca_file else [])


def transport_socket(options: EnvoyOptions) -> Doc:
    """The field of the listener's filter chain; none where clients speak HTTP. HTTP/2 by ALPN, else HTTP/1.1."""
    found = downstream_secrets(options)
    if not found:
        return {}
    own, *authorities = (secret_source(secret, options) for secret in found)
    common: Doc = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [own]}
    if authorities:
        common["validation_context_sds_secret_config"] = authorities[0]
    socket = typed(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=bool(authorities),
    )
    return {"transport_socket": socket}
