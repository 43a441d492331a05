"""Certificates from files that may change while we serve.

Files are compared by content. A change counts once key and certificate belong together, so a rotation that replaces
one after the other is never seen half done; what can't be used is logged, and the last good certificate stays.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import msgspec

from extproc.errors import SetupError
from extproc.regular_file import read_regular

log = logging.getLogger(__name__)

_LARGEST = 1 << 20
"""Bytes of a file that are read: far more than any chain of certificates."""


class PemFiles(msgspec.Struct, frozen=True):
    """The files' contents."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """The server's certificate with its chain and its key; optionally the CA that clients must have theirs from."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        """Reads the files. Raises ``SetupError`` that names the file and what is wrong with it."""
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self.asks_clients = client_ca is not None
        self.current = self._read()
        self._check(self.current)
        self._refused: str | None = None

    def refresh(self) -> PemFiles | None:
        """What the files hold now, if it differs from ``current`` and can be used. Never raises."""
        try:
            fresh = self._read()
            if fresh == self.current:
                self._refused = None
                return None
            self._check(fresh)
            if fresh != self._read():  # being written: the next connection sees the rest
                return None
        except SetupError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                log.error("the certificates stay as they were: %s", error)  # noqa: TRY400 - no failure of ours
            return None
        self.current, self._refused = fresh, None
        log.info("new certificates from %s", self._certificate)
        return fresh

    def _read(self) -> PemFiles:
        return PemFiles(
            _read(self._certificate, b"CERTIFICATE", "--tls-cert"),
            _read(self._key, b"PRIVATE KEY", "--tls-key"),
            None if self._client_ca is None else _read(self._client_ca, b"CERTIFICATE", "--tls-client-ca"),
        )

    def _check(self, pems: PemFiles) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for pem, path, flag in (
            (pems.certificate, self._certificate, "--tls-cert"),
            (pems.client_ca, self._client_ca, "--tls-client-ca"),
        ):
            if pem is not None:
                try:
                    context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
                except ssl.SSLError:
                    raise SetupError(f"{path} ({flag}) holds a certificate that can't be read") from None
        try:
            context.load_cert_chain(self._certificate, self._key, password=self._no_password)
        except (ssl.SSLError, OSError) as error:
            if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                why = f"is not the key of the certificate in {self._certificate} (--tls-cert)"
            else:
                why = f"can't be used with {self._certificate} (--tls-cert)"
            raise SetupError(f"{self._key} (--tls-key) {why}") from None

    def _no_password(self) -> str:
        raise SetupError(f"{self._key} (--tls-key) is encrypted; nobody is there to give the password: decrypt it")


def _read(path: Path, kind: bytes, flag: str) -> bytes:
    try:
        content = read_regular(path, _LARGEST)
    except OSError as error:
        raise SetupError(f"cannot read {path} ({flag}): {error.strerror}") from None
    if b"-----BEGIN " not in content or kind + b"-----" not in content:
        raise SetupError(f"{path} ({flag}) holds no PEM block of a {kind.decode().lower()}")
    return content
