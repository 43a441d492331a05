"""TLS and mTLS with certificates made here: what a client needs, what changes without a restart, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import trustme

from extproc.grpc_server import ENGINES, Name, Settings
from extproc.grpc_server.tls import Certificates
from tests.grpc.certificate_files import Files
from tests.grpc.echo import ECHO, Echo
from tests.grpc.running import Running, running
from tests.grpc.served import POLICY, Served
from tests.waiting import until


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
