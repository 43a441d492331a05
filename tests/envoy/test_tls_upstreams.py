"""TLS to model servers: what a real Envoy accepts, asks for, and says when it does not accept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from extproc.gateway.envoy_process import Envoy
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.upstream import PathRewrite, Tls, Upstream
from tests.waiting import until

from .conftest import Gateway, Handler, Processor, Response
from .test_accounts import errors, faults
from .tls_servers import Authority, TlsModelServer, echoing_envoy, told

pytestmark = pytest.mark.envoy

Start = Callable[..., Gateway]
Process = Callable[..., Processor]
Serve = Callable[..., TlsModelServer]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(*names: str, expired: bool = False, client_ca: Path | None = None) -> TlsModelServer:
            certificate = authority.issue(*names, expired=expired)
            return stack.enter_context(TlsModelServer(names[0], certificate, client_ca))

        yield start


@pytest.fixture
def echo(authority: Authority, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Addresses of Envoys that tell what they were asked."""
    with ExitStack() as stack:

        def start(*names: str, alpn: tuple[str, ...] = ("h2", "http/1.1")) -> str:
            directory = tmp_path / f"echo-{'-'.join((*names, *alpn)).replace('/', '-')}"
            directory.mkdir()
            envoy = stack.enter_context(Envoy(echoing_envoy(authority.issue(*names), alpn), directory))
            envoy.wait_ready()
            return envoy.listen_address

        yield start


def chat(*versions: Version) -> Snapshot:
    return Snapshot((Policy("chat", models=("llama",), versions=versions),))


def localhost(address: str) -> str:
    """Another name of the server at ``address``."""
    return f"localhost:{address.rpartition(':')[2]}"


def asked(start: Start, process: Process, snapshot: Snapshot, **options: Any) -> tuple[Gateway, Response]:
    gateway = start(snapshot, process(snapshot).address, **options)
    return gateway, gateway.ask("llama")


def test_the_name_is_asked_for_verified_and_told(
    serve: Serve, authority: Authority, gateway: Start, processor: Process
) -> None:
    server = serve("localhost")
    upstream = Upstream(Tls(str(authority.ca)))
    _, answer = asked(gateway, processor, chat(Version("v1", 1, (localhost(server.address),), upstream=upstream)))
    assert (answer.status, answer.text, answer.headers["x-model-version"]) == (200, "localhost", "v1")
    assert server.names == ["localhost"]
    assert server.seen[0].headers["host"] == "localhost"


def test_an_address_is_verified_without_a_name_asked_for(
    serve: Serve, authority: Authority, gateway: Start, processor: Process
) -> None:
    server = serve("127.0.0.1")
    upstream = Upstream(Tls(str(authority.ca)))
    _, answer = asked(gateway, processor, chat(Version("v1", 1, (server.address,), upstream=upstream)))
    assert (answer.status, server.names, server.seen[0].headers["host"]) == (200, [None], "127.0.0.1")


def test_another_name_can_be_given(serve: Serve, authority: Authority, gateway: Start, processor: Process) -> None:
    server = serve("*.models.example")
    upstream = Upstream(Tls(str(authority.ca), server_name="chat.models.example"))
    _, answer = asked(gateway, processor, chat(Version("v1", 1, (server.address,), upstream=upstream)))
    assert (answer.status, server.names) == (200, ["chat.models.example"])
    assert server.seen[0].headers["host"] == "chat.models.example"


def test_the_authorities_of_the_system(serve: Serve, authority: Authority, gateway: Start, processor: Process) -> None:
    server = serve("127.0.0.1")
    snapshot = chat(Version("v1", 1, (server.address,), upstream=Upstream(Tls())))
    _, answer = asked(gateway, processor, snapshot, authorities=str(authority.ca))
    assert answer.status == 200


@pytest.mark.parametrize(
    ("tls", "expired", "why"),
    [
        (Tls("CA", server_name="other.example"), False, "SAN matcher"),
        (Tls("CA"), True, "certificate has expired"),
        (Tls(), False, "unable to get local issuer certificate"),
    ],
    ids=["wrong name", "expired", "another authority"],
)
def test_who_is_not_verified_gets_nothing(
    tls: Tls, expired: bool, why: str, serve: Serve, authority: Authority, gateway: Start, processor: Process
) -> None:
    server = serve("127.0.0.1", expired=expired)
    given = Tls(tls.ca_file and str(authority.ca), server_name=tls.server_name)
    snapshot = chat(Version("v1", 1, (server.address,), upstream=Upstream(given)))
    process = processor(snapshot)
    stranger = Authority(authority.directory / "stranger")
    running = gateway(snapshot, process.address, authorities=str(stranger.ca))
    answer = running.ask("llama")
    assert (answer.status, answer.error["code"]) == (503, "no_model_server")
    assert server.seen == []
    logged = running.logged()
    assert why in logged["upstream_failure"].replace("_", " ")
    assert "UF" in logged["flags"].split(",")
    until(lambda: errors(process) == {"upstream_unreachable": 1})


def test_verification_can_be_left_out(serve: Serve, gateway: Start, processor: Process) -> None:
    server = serve("other.example", expired=True)
    upstream = Upstream(Tls(verify=False))
    _, answer = asked(gateway, processor, chat(Version("v1", 1, (server.address,), upstream=upstream)))
    assert answer.status == 200


def test_a_server_that_wants_a_certificate(
    serve: Serve, authority: Authority, tmp_path: Path, gateway: Start, processor: Process
) -> None:
    clients = Authority(tmp_path / "clients")
    server = serve("127.0.0.1", client_ca=clients.ca)
    own = str(clients.issue("gateway.example"))
    version = Version("v1", 1, (server.address,), upstream=Upstream(Tls(str(authority.ca), own, own)))
    _, answer = asked(gateway, processor, chat(version))
    assert answer.status == 200


def test_each_server_of_a_version_is_called_by_its_own_name(
    serve: Serve, authority: Authority, gateway: Start, processor: Process
) -> None:
    servers = [serve("localhost"), serve("127.0.0.1")]
    version = Version(
        "v1", 1, (localhost(servers[0].address), servers[1].address), upstream=Upstream(Tls(str(authority.ca)))
    )
    running, _ = asked(gateway, processor, chat(version))
    until(lambda: running.ask("llama").status == 200 and all(server.seen for server in servers))
    assert [{seen.headers["host"] for seen in server.seen} for server in servers] == [{"localhost"}, {"127.0.0.1"}]


@pytest.mark.parametrize(("alpn", "protocol"), [(("h2", "http/1.1"), "HTTP/2"), (("http/1.1",), "HTTP/1.1")])
def test_http2_where_it_is_offered(
    alpn: tuple[str, ...],
    protocol: str,
    echo: Callable[..., str],
    authority: Authority,
    gateway: Start,
    processor: Process,
) -> None:
    address = echo("localhost", alpn=alpn)
    upstream = Upstream(Tls(str(authority.ca), server_name="localhost"), PathRewrite("/v1", "/openai/v1"))
    running, answer = asked(gateway, processor, chat(Version("v1", 1, (address,), upstream=upstream)))
    assert told(answer.body) == {
        "protocol": protocol,
        "host": "localhost",
        "path": "/openai/v1/chat/completions",
        "scheme": "https" if "h2" in alpn else "http",  # HTTP/1.1 does not tell it
    }
    body = b"\0\0\0\0\x07\x0a\x05llama"  # ModelInferRequest of the Open Inference Protocol: model_name
    path = "/inference.GRPCInferenceService/ModelInfer"
    if "h2" in alpn:
        call = running.post(body, path, content_type="application/grpc", te="trailers")
        assert told(call.headers["grpc-message"].encode()) == {
            "protocol": "HTTP/2",
            "host": "localhost",
            "path": path,
            "scheme": "https",
        }


def test_without_a_processor_each_share_is_rewritten_by_itself(
    serve: Serve, authority: Authority, servers: Callable[..., Any], gateway: Start
) -> None:
    (plain,) = servers("plain")
    secure = serve("localhost")
    upstream = Upstream(Tls(str(authority.ca)), PathRewrite("", "/models"))
    versions = (
        Version("v1", 1, (plain.address,)),
        Version("v2", 1, (localhost(secure.address),), upstream=upstream),
        Version("v3", 0, (plain.address,), upstream=Upstream(path_rewrite=PathRewrite("/v1", ""))),
    )
    running = gateway(chat(*versions), "127.0.0.1:1")
    until(lambda: running.ask("llama").status == 200 and plain.seen and secure.seen)
    assert {seen.path for seen in secure.seen} == {"/models/v1/chat/completions"}
    assert {seen.headers["host"] for seen in secure.seen} == {"localhost"}
    assert {seen.path for seen in plain.seen} == {"/v1/chat/completions"}
    assert {seen.headers["host"] for seen in plain.seen} == {running.envoy.listen_address}


def test_a_mirror_behind_tls(
    serve: Serve, authority: Authority, servers: Callable[..., Any], gateway: Start, processor: Process
) -> None:
    (plain,) = servers("plain")
    secure = serve("localhost")
    upstream = Upstream(Tls(str(authority.ca), server_name="localhost"))
    versions = (
        Version("v1", 1, (plain.address,)),
        Version("m", 0, (secure.address,), mirror=100, upstream=upstream),
    )
    running, answer = asked(gateway, processor, chat(*versions))
    assert answer.text == "plain"
    until(lambda: secure.seen)
    assert secure.seen[0].headers["host"] == "localhost"
    assert plain.seen[0].headers["host"] == running.envoy.listen_address


def test_websockets_go_by_http1_where_a_server_offers_http2(
    serve: Serve, authority: Authority, gateway: Start, processor: Process
) -> None:
    """RFC 6455 is of HTTP/1.1; few servers take it over HTTP/2 (RFC 8441)."""
    server = serve("127.0.0.1")
    server.alpn = ["h2", "http/1.1"]
    server.use(authority.issue("127.0.0.1"))
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}

    def accept(request: Handler) -> None:
        request.send_response(101)
        for name, value in upgrade.items():
            request.send_header(name, value)
        request.end_headers()

    server.then = accept
    snapshot = chat(Version("v1", 1, (server.address,), upstream=Upstream(Tls(str(authority.ca)))))
    process = processor(snapshot)
    running = gateway(snapshot, process.address)
    connection = running.open()
    asked = upgrade | {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"}
    connection.request("GET", "/v1/realtime?model=llama", headers=asked)
    assert connection.getresponse().status == 101
    assert server.protocols == ["http/1.1"]
    connection.close()
    assert running.logged()["cluster"] == "chat/v1#upgrade"
    assert faults(process) == {}
