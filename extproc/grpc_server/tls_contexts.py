"""Our certificates as contexts of Python's ``ssl``."""

from __future__ import annotations

import logging
import os
import ssl

from extproc.grpc_server.tls import Certificates, PemFiles

log = logging.getLogger(__name__)


class TlsContexts:
    """For one connection after the other: files that have changed count from the next one on."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._context = _context(certificates.current)
        self._fresh: PemFiles | None = None

    def current(self) -> ssl.SSLContext:
        """By what the files hold now, or by the last good certificates: those stay, too, where no context can be made
        of new ones, as without a file descriptor. The next connection tries again. Never raises.
        """
        self._fresh = self._certificates.refresh() or self._fresh
        if self._fresh is not None:
            try:
                self._context = _context(self._fresh)
            except OSError as error:  # ssl.SSLError is one
                log.error("the certificates stay as they were for now: %s", error)  # noqa: TRY400 - not ours to mend
            else:
                self._fresh = None
        return self._context


def _context(pems: PemFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # what RFC 9113 asks for, §9.2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2"])
    # `ssl` reads chains from files only, and those on the disk may have changed since they were found good.
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
