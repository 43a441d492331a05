"""The TLS certificate files that the options of a processor name."""

from __future__ import annotations

from extproc.errors import SetupError
from extproc.grpc_server.tls import Certificates
from extproc.serve.options import ServeOptions


def certificates(options: ServeOptions) -> Certificates | None:
    """The files named; None: serve without TLS. Raises ``SetupError`` where one of certificate and key is missing."""
    if options.tls_cert is None and options.tls_key is None and options.tls_client_ca is None:
        return None
    if options.tls_cert is None or options.tls_key is None:
        raise SetupError("TLS needs both --tls-cert and --tls-key")
    return Certificates(options.tls_cert, options.tls_key, options.tls_client_ca)
