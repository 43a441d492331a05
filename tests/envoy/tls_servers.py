"""Model servers behind TLS: one of Python's, for HTTP/1.1, and a real Envoy that tells what it was asked."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from tests.envoy.conftest import Handler, ModelServer


class Authority:
    """An authority of certificates and the files that it makes."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca = directory / "ca.crt"
        self.authority.cert_pem.write_to_path(self.ca)

    def issue(self, *names: str, expired: bool = False) -> Path:
        """A file with a certificate for ``names``, its chain and its key."""
        end = datetime.now(UTC) - timedelta(days=1) if expired else None
        issued = self.authority.issue_cert(*names, not_after=end, key_type=trustme.KeyType.ECDSA)
        file = self.directory / f"{'-'.join(names)}{'-expired' * expired}.pem".replace("*", "any")
        issued.private_key_and_cert_chain_pem.write_to_path(file)
        return file


class TlsModelServer(ModelServer):
    """Notes the server names that it was asked for."""

    def __init__(self, name: str, certificate: Path, client_ca: Path | None = None) -> None:
        super().__init__(name)
        self.names: list[str | None] = []
        self.protocols: list[str | None] = []
        """What ALPN chose for each connection."""
        self.alpn: list[str] = []
        self.use(certificate, client_ca)

    def use(self, certificate: Path, client_ca: Path | None = None) -> None:
        """From the next connection on, which resumes no session; ``client_ca``: clients need a certificate of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = lambda _, asked, __: self.names.append(asked)
        context.load_cert_chain(certificate)
        if self.alpn:
            context.set_alpn_protocols(self.alpn)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        self._context = context

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            with self._context.wrap_socket(request, server_side=True) as wrapped:
                self.protocols.append(wrapped.selected_alpn_protocol())
                Handler(wrapped, client_address, self)
        except OSError:  # a client that does not take the certificate
            return


def echoing_envoy(certificate: Path, alpn: tuple[str, ...] = ("h2", "http/1.1")) -> dict[str, Any]:
    """The document of an Envoy that answers with what it was asked, by TLS."""
    asked = {
        "protocol": "%PROTOCOL%",
        "host": "%REQ(:AUTHORITY)%",
        "path": "%REQ(:PATH)%",
        "scheme": "%REQ(:SCHEME)%",
    }
    types = "type.googleapis.com/envoy.extensions"
    manager: dict[str, Any] = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "echo",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"},
            }
        ],
        "local_reply_config": {"body_format": {"json_format": asked}},
    }
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "x"}}}
    manager["route_config"] = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
    chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    source = {"filename": str(certificate)}
    tls = {
        "@type": f"{types}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": list(alpn),
            "tls_certificates": [{"certificate_chain": source, "private_key": source}],
        },
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [
                {
                    "name": "echo",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [
                        {
                            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                            "filters": [chain],
                        }
                    ],
                }
            ]
        },
    }


def told(body: bytes) -> dict[str, str]:
    """What ``echoing_envoy`` was asked."""
    found: dict[str, str] = json.loads(body)
    return found
