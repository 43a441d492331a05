"""Our certificates as contexts of Python's ``ssl``."""

from __future__ import annotations

import os
import ssl

from extproc.grpc_server.tls import Certificates, PemFiles


class TlsContexts:
    """For one connection after the other: files that have changed count from the next one on."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._context = _context(certificates.current)

    def current(self) -> ssl.SSLContext:
        """By what the files hold now, or by the last good certificates."""
        fresh = self._certificates.refresh()
        if fresh is not None:
            self._context = _context(fresh)
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
        context.load_verify_locations(cadata=pems.client_ca.decode("ascii"))
    return context
