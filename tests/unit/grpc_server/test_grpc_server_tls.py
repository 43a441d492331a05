"""Certificates from files that change, what is refused of them, and the contexts made of them."""

from __future__ import annotations

import logging
import os
import re
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from extproc.errors import SetupError
from extproc.grpc_server.tls import MAX_FILE, Certificates, TlsContexts
from tests.grpc.certificate_files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_files_that_do_not_fit_yet_are_not_taken(files: Files, authority: trustme.CA) -> None:
    files.issue(authority)
    certificates = Certificates(files.certificate, files.key)
    assert certificates.refresh() is None
    before = files.certificate.read_bytes()
    files.issue(authority)
    after = files.certificate.read_bytes()
    files.certificate.write_bytes(before)  # the key came first
    assert certificates.refresh() is None
    files.certificate.write_bytes(after)
    fresh = certificates.refresh()
    assert fresh is not None
    assert (fresh.certificate, fresh.key) == (after, files.key.read_bytes())
    assert certificates.refresh() is None


def test_the_same_refusal_is_told_once(files: Files, authority: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    files.issue(authority)
    certificates = Certificates(files.certificate, files.key)
    files.certificate.write_text("nonsense")
    for _ in range(3):
        assert certificates.refresh() is None
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def _other_key(files: Files) -> None:
    files.key.write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())


def _encrypted(files: Files) -> None:
    shutil.copy(files.key, files.key.with_suffix(".plain"))
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret"))
    )


def _pipe(files: Files) -> None:
    files.key.unlink()
    os.mkfifo(files.key)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.certificate.unlink(), r"cannot read .*tls\.crt \(--tls-cert\): No such file or directory"),
        (lambda f: f.key.unlink(), r"cannot read .*tls\.key \(--tls-key\): No such file or directory"),
        (_pipe, r"cannot read .*tls\.key \(--tls-key\): it is a FIFO"),
        (lambda f: f.certificate.write_bytes(b"\x30\x82"), r"tls\.crt \(--tls-cert\) holds no PEM block of a cert"),
        (lambda f: shutil.copy(f.certificate, f.key), r"tls\.key \(--tls-key\) holds no PEM block of a private key"),
        (_other_key, r"tls\.key \(--tls-key\) is not the key of the certificate in .*tls\.crt \(--tls-cert\)"),
        (_encrypted, r"tls\.key \(--tls-key\) is encrypted"),
        (
            lambda f: f.certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            r"tls\.crt \(--tls-cert\) holds a certificate that can't be read",
        ),
        (
            lambda f: f.client_ca.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            r"ca\.crt \(--tls-client-ca\) holds a certificate that can't be read",
        ),
        (lambda f: f.client_ca.write_text(""), r"ca\.crt \(--tls-client-ca\) holds no PEM block of a certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    spoil: Callable[[Files], Any], message: str, files: Files, authority: trustme.CA
) -> None:
    files.issue(authority)
    files.trust(authority)
    spoil(files)
    with pytest.raises(SetupError, match=message) as caught:
        Certificates(files.certificate, files.key, files.client_ca)
    assert not re.search(r"\(_?ssl\.c", str(caught.value))


def test_no_more_of_a_file_is_read_than_any_chain_has(files: Files, authority: trustme.CA) -> None:
    files.issue(authority)
    with files.certificate.open("ab") as file:
        file.write(b"\n" * MAX_FILE)
    assert len(Certificates(files.certificate, files.key).current.certificate) == MAX_FILE


def test_files_that_change_while_they_are_read_wait_for_the_next_connection(
    files: Files, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.issue(authority)
    certificates = Certificates(files.certificate, files.key)
    files.issue(authority)
    check = Certificates._check

    def changing(self: Certificates, pems: Any) -> None:
        check(self, pems)
        files.issue(authority)

    with monkeypatch.context() as patched:
        patched.setattr(Certificates, "_check", changing)
        assert certificates.refresh() is None
    assert certificates.refresh() is not None


def test_an_error_that_is_gone_is_told_again(
    files: Files, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    files.issue(authority)
    certificates, good = Certificates(files.certificate, files.key), files.certificate.read_bytes()
    for _ in range(2):
        files.certificate.write_text("nonsense")
        assert certificates.refresh() is None
        files.certificate.write_bytes(good)
        assert certificates.refresh() is None
    assert len(caplog.records) == 2
    assert certificates.current.certificate == good


def shaken(context: ssl.SSLContext, authority: trustme.CA, *, own: bool = False) -> ssl.SSLObject:
    """The client's side of a handshake in memory. Raises ``ssl.SSLError``."""
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    ours.set_alpn_protocols(["http/1.1", "h2"])
    if own:
        authority.issue_cert("client").configure_cert(ours)
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(downwards, upwards, server_hostname="127.0.0.1")
    server = context.wrap_bio(upwards, downwards, server_side=True)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client


def test_a_context_speaks_http2_and_no_old_tls(files: Files, authority: trustme.CA) -> None:
    files.issue(authority)
    context = TlsContexts(Certificates(files.certificate, files.key)).current()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.verify_mode is ssl.CERT_NONE
    client = shaken(context, authority)
    assert client.selected_alpn_protocol() == "h2"
    assert client.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(
        files.certificate.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----"
    )


def test_a_context_that_asks_for_certificates_of_clients(files: Files, authority: trustme.CA) -> None:
    files.issue(authority)
    files.trust(authority)
    certificates = Certificates(files.certificate, files.key, files.client_ca)
    assert certificates.client_certificate_required
    context = TlsContexts(certificates).current()
    assert shaken(context, authority, own=True).version() is not None
    with pytest.raises(ssl.SSLError):
        shaken(context, authority)


def test_a_context_is_made_anew_when_files_have_changed(files: Files, authority: trustme.CA) -> None:
    files.issue(authority)
    contexts = TlsContexts(Certificates(files.certificate, files.key))
    first = contexts.current()
    assert contexts.current() is first
    files.issue(authority)
    second = contexts.current()
    assert second is not first
    assert contexts.current() is second
    files.certificate.write_text("nonsense")
    assert contexts.current() is second


def test_where_no_context_can_be_made_the_next_connection_tries_again(
    files: Files, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    files.issue(authority)
    contexts = TlsContexts(Certificates(files.certificate, files.key))
    first = contexts.current()
    files.issue(authority)
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", none_left)
        assert contexts.current() is first
        assert contexts.current() is first
    assert "the certificates stay as they were for now: [Errno 24]" in caplog.text
    assert contexts.current() is not first


@pytest.mark.parametrize(
    "files",
    [
        (Path("tls.crt"), None, None),
        (None, Path("tls.key"), None),
        (None, None, Path("ca.crt")),
        (Path("tls.crt"), None, Path("ca.crt")),
    ],
)
def test_half_of_the_files_is_an_error(files: tuple[Path | None, Path | None, Path | None]) -> None:
    with pytest.raises(SetupError, match="both --tls-cert and --tls-key"):
        Certificates.of_files(*files)


def test_without_files_there_is_no_tls_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert Certificates.of_files(None, None, None) is None
    with pytest.raises(SetupError, match=r"none\.crt"):
        Certificates.of_files(tmp_path / "none.crt", tmp_path / "none.key", None)
