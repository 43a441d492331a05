"""A server's certificate, key and authority of clients, in files."""

from __future__ import annotations

from pathlib import Path

import trustme


class Files:
    """A server's files, as flags name them."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "tls.crt"
        self.key = directory / "tls.key"
        self.client_ca = directory / "ca.crt"

    def issue(self, authority: trustme.CA) -> None:
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def trust(self, authority: trustme.CA) -> None:
        self.client_ca.write_bytes(authority.cert_pem.bytes())
