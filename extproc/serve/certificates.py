"""The certificates that the options of a processor name."""

from __future__ import annotations

from extproc.errors import SetupError
from extproc.grpc_server.tls import Certificates
from extproc.serve.options import Options


def certificates(options: Options) -> Certificates | None:
    """What the options name; None for serving in the clear. Raises ``SetupError``."""
    if options.tls_cert is None and options.tls_key is None and options.tls_client_ca is None:
        return None
    if options.tls_cert is None or options.tls_key is None:
        raise SetupError("TLS needs both --tls-cert and --tls-key")
    return Certificates(options.tls_cert, options.tls_key, options.tls_client_ca)
