"""Certificates as a mesh gives them to workloads: the name is a SPIFFE ID, a URI."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Mesh:
    """A trust domain whose Envoy stands on 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._server = self._authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)

    def transport_socket(self) -> dict[str, Any]:
        """Of a listener: mutual TLS; whoever comes without a certificate of this mesh is turned away."""
        chain = "".join(blob.bytes().decode() for blob in self._server.cert_chain_pems)
        certificate = {
            "certificate_chain": {"inline_string": chain},
            "private_key": {"inline_string": self._server.private_key_pem.bytes().decode()},
        }
        trusted = {"trusted_ca": {"inline_string": self._authority.cert_pem.bytes().decode()}}
        return {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": True,
                "common_tls_context": {"tls_certificates": [certificate], "validation_context": trusted},
            },
        }

    def listening(self, document: dict[str, Any]) -> None:
        """Makes every listener of an Envoy's configuration speak mutual TLS."""
        for listener in document["static_resources"]["listeners"]:
            for chain in listener["filter_chains"]:
                chain["transport_socket"] = self.transport_socket()

    def client(self, identity: str) -> ssl.SSLContext:
        """For a workload of this name."""
        file = self._directory / f"{identity.replace('/', '_')}.pem"
        file.write_bytes(self._issue(identity))
        found = ssl.create_default_context(cadata=self._authority.cert_pem.bytes().decode())
        found.load_cert_chain(file)
        return found

    def _issue(self, identity: str) -> bytes:
        authority = x509.load_pem_x509_certificate(self._authority.cert_pem.bytes())
        signing = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        assert isinstance(signing, ec.EllipticCurvePrivateKey)
        key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "workload")]))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
            .sign(signing, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return made.public_bytes(serialization.Encoding.PEM) + private
