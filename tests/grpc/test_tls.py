"""TLS and mTLS with certificates made here: what a client needs, what changes without a restart, what is refused."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from extproc.errors import SetupError
from extproc.grpc_server import ENGINES, Name, Settings
from extproc.grpc_server.tls import Certificates
from tests.grpc.echo import ECHO, Echo
from tests.grpc.running import Running, running
from tests.grpc.served import POLICY, Served
from tests.waiting import until


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


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def ours() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def theirs() -> trustme.CA:
    return trustme.CA()


def client(trusts: trustme.CA, own: trustme.CA | None = None) -> Callable[[str], grpc.Channel]:
    """Channels that trust one authority, with a certificate of another's."""
    key = chain = None
    if own is not None:
        issued = own.issue_cert("client")
        key = issued.private_key_pem.bytes()
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    credentials = grpc.ssl_channel_credentials(trusts.cert_pem.bytes(), key, chain)
    return lambda address: grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)])


def works(server: Running, opened: Callable[[str], grpc.Channel]) -> bool:
    with opened(server.address) as channel:
        try:
            return list(channel.stream_stream(ECHO)(iter([b"a"]), timeout=3)) == [b"a"]
        except grpc.RpcError as error:
            return bool(error.code() is not grpc.StatusCode.UNAVAILABLE)


@contextmanager
def echo(certificates: Certificates, engine: Name, opened: Callable[[str], grpc.Channel]) -> Iterator[Running]:
    services = {ECHO: lambda send: Echo(send, [""])}
    with running(services, engine=engine, settings=Settings(tls=certificates), channel=opened) as server:
        yield server


@pytest.mark.parametrize("engine", ENGINES)
def test_tls(engine: Name, files: Files, ours: trustme.CA, theirs: trustme.CA) -> None:
    files.issue(ours)
    with echo(Certificates(files.certificate, files.key), engine, client(ours)) as server:
        assert list(server.open(ECHO)(iter([b"a", b"b"]))) == [b"a", b"b"]
        assert not works(server, client(theirs))
        assert not works(server, grpc.insecure_channel)


@pytest.mark.parametrize("engine", ENGINES)
def test_mtls(engine: Name, files: Files, ours: trustme.CA, theirs: trustme.CA) -> None:
    files.issue(ours)
    files.trust(theirs)
    with echo(Certificates(files.certificate, files.key, files.client_ca), engine, client(ours, theirs)) as server:
        assert list(server.open(ECHO)(iter([b"a"]))) == [b"a"]
        assert not works(server, client(ours))
        assert not works(server, client(ours, ours))


@pytest.mark.parametrize("engine", ENGINES)
def test_rotation_reaches_new_connections_and_leaves_open_ones(
    engine: Name, files: Files, ours: trustme.CA, theirs: trustme.CA
) -> None:
    files.issue(ours)
    with echo(Certificates(files.certificate, files.key), engine, client(ours)) as server:
        assert list(server.open(ECHO)(iter([b"a"]))) == [b"a"]
        files.issue(theirs)
        assert works(server, client(theirs))
        assert not works(server, client(ours))
        assert list(server.open(ECHO)(iter([b"still there"]))) == [b"still there"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_clients_authority_rotates_too(engine: Name, files: Files, ours: trustme.CA, theirs: trustme.CA) -> None:
    files.issue(ours)
    files.trust(theirs)
    with echo(Certificates(files.certificate, files.key, files.client_ca), engine, client(ours, theirs)) as server:
        assert works(server, client(ours, theirs))
        files.trust(ours)
        assert works(server, client(ours, ours))
        assert not works(server, client(ours, theirs))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bad_rotation_keeps_the_last_good_certificate(
    engine: Name, files: Files, ours: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    files.issue(ours)
    with echo(Certificates(files.certificate, files.key), engine, client(ours)) as server:
        files.certificate.write_text("nonsense")
        assert works(server, client(ours))
        assert "the certificates stay as they were" in caplog.text
        assert f"{files.certificate} (--tls-cert) holds no PEM block of a certificate" in caplog.text


def test_files_that_do_not_fit_yet_are_not_taken(files: Files, ours: trustme.CA) -> None:
    files.issue(ours)
    certificates = Certificates(files.certificate, files.key)
    assert certificates.refresh() is None
    before = files.certificate.read_bytes()
    files.issue(ours)
    after = files.certificate.read_bytes()
    files.certificate.write_bytes(before)  # the key came first
    assert certificates.refresh() is None
    files.certificate.write_bytes(after)
    fresh = certificates.refresh()
    assert fresh is not None
    assert (fresh.certificate, fresh.key) == (after, files.key.read_bytes())
    assert certificates.refresh() is None


def test_the_same_refusal_is_told_once(files: Files, ours: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    files.issue(ours)
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
    spoil: Callable[[Files], Any], message: str, files: Files, ours: trustme.CA
) -> None:
    files.issue(ours)
    files.trust(ours)
    spoil(files)
    with pytest.raises(SetupError, match=message) as caught:
        Certificates(files.certificate, files.key, files.client_ca)
    assert not re.search(r"\(_?ssl\.c", str(caught.value))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("WEIGHT", "90"))
    return path


def test_the_command_line(files: Files, ours: trustme.CA, theirs: trustme.CA, policy: Path) -> None:
    files.issue(ours)
    files.trust(theirs)
    flags = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key), "--tls-client-ca", str(files.client_ca))
    with Served(policy, *flags) as server:
        server.ready()
        with client(ours, theirs)(server.address) as channel:
            assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=5)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("flag", ["--tls-cert", "--tls-client-ca"])
def test_half_a_command_line(flag: str, workers: str, files: Files, ours: trustme.CA, policy: Path) -> None:
    files.issue(ours)
    with Served(policy, flag, str(files.certificate), "--workers", workers) as server:
        assert server.exit_status() == 1
        until(lambda: "TLS needs both --tls-cert and --tls-key" in server.log)
