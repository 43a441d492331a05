"""TLS: certificates from files that may change while we serve, and contexts of Python's ``ssl`` made of them.

Files are compared by content. A change counts once key and certificate belong together, so a rotation that replaces one
after the other is never used half done; what can't be used is logged, and the last good certificate stays.
"""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import msgspec

from extproc.errors import SetupError
from extproc.regular_file import read_regular

log = logging.getLogger(__name__)

MAX_FILE = 1 << 20
"""Bytes of a file: far more than any chain of certificates."""


class PemFiles(msgspec.Struct, frozen=True):
    """The contents of the files, in PEM."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """The server's certificate with its chain and key; optionally the CA that must have issued those of clients."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        """Reads the files. Raises ``SetupError`` that names the file and what is wrong with it."""
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self.client_certificate_required = client_ca is not None
        self.current = self._read()
        self._check(self.current)
        self._last_error: str | None = None

    @classmethod
    def of_files(cls, certificate: Path | None, key: Path | None, client_ca: Path | None) -> Certificates | None:
        """Those of the files that are named; None, serve without TLS, where none is. Raises ``SetupError``."""
        if certificate is None and key is None and client_ca is None:
            return None
        if certificate is None or key is None:
            raise SetupError("TLS needs both --tls-cert and --tls-key")
        return cls(certificate, key, client_ca)

    def refresh(self) -> PemFiles | None:
        """The contents of the files, if they differ from ``current`` and can be used. Never raises."""
        try:
            fresh = self._read()
            if fresh == self.current:
                self._last_error = None
                return None
            self._check(fresh)
            if fresh != self._read():  # being written: the next connection reads them again
                return None
        except SetupError as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                log.error("the certificates stay as they were: %s", error)  # noqa: TRY400 - no failure of ours
            return None
        self.current, self._last_error = fresh, None
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


class TlsContexts:
    """The context for each new connection: changed files count from the next one on."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._context = _context(certificates.current)
        self._pending: PemFiles | None = None

    def current(self) -> ssl.SSLContext:
        """A context of the files' contents or, where those can't be used, of the last good ones: also where no context
        can be made of new ones, as without a file descriptor; the next connection tries again. Never raises.
        """
        self._pending = self._certificates.refresh() or self._pending
        if self._pending is not None:
            try:
                self._context = _context(self._pending)
            except OSError as error:  # ssl.SSLError is one
                log.error("the certificates stay as they were for now: %s", error)  # noqa: TRY400 - not ours to mend
            else:
                self._pending = None
        return self._context


def _read(path: Path, kind: bytes, flag: str) -> bytes:
    try:
        content = read_regular(path, MAX_FILE)
    except OSError as error:
        raise SetupError(f"cannot read {path} ({flag}): {error.strerror}") from None
    if b"-----BEGIN " not in content or kind + b"-----" not in content:
        raise SetupError(f"{path} ({flag}) holds no PEM block of a {kind.decode().lower()}")
    return content


def _context(pems: PemFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9113 §9.2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2"])
    # `ssl` reads chains from files only, and those on the disk may have changed since they were checked.
    number = os.memfd_create("certificates", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(pems.certificate + b"\n" + pems.key)
        context.load_cert_chain(f"/proc/self/fd/{number}")
    finally:
        os.close(number)
    if pems.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pems.client_ca.decode("ascii", "ignore"))
    return context
