"""Our certificates as grpcio's credentials. Floor 5: may import floors 0 to 4."""

from __future__ import annotations

from typing import Any

import grpc

from extproc.tls import Certificates, Pems


def server_credentials(certificates: Certificates) -> Any:
    """Looks for changed files at every new connection; those that are open go on with what they have."""
    return grpc.dynamic_ssl_server_credentials(
        _configuration(certificates.current), lambda: _changed(certificates), certificates.asks_clients
    )


def _changed(certificates: Certificates) -> Any:
    fresh = certificates.refresh()
    return None if fresh is None else _configuration(fresh)


def _configuration(pems: Pems) -> Any:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.client_ca)
