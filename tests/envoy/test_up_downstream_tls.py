"""`extproc up` to clients that speak TLS: who may come, who came, and certificates that are renewed while it runs."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

from .conftest import ModelServer
from .test_up import Up, policy, up  # noqa: F401 - a fixture
from .tls_servers import Authority

pytestmark = pytest.mark.envoy


class Client:
    """Who trusts one authority, with a certificate or without."""

    def __init__(self, authority: Authority, certificate: Path | None = None) -> None:
        self._tls = ssl.create_default_context(cafile=str(authority.ca))
        self._tls.set_alpn_protocols(["http/1.1"])
        if certificate is not None:
            self._tls.load_cert_chain(certificate)

    def ask(self, running: Up) -> tuple[int, str]:
        """Status and text; 0 and the reason where there is no connection."""
        with closing(
            http.client.HTTPSConnection("127.0.0.1", running.port, timeout=10, context=self._tls)
        ) as connection:
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps({"model": "llama", "messages": []}))
                response = connection.getresponse()
                return response.status, response.read().decode()
            except (ssl.SSLError, ConnectionError, http.client.HTTPException) as error:
                return 0, str(error)


def live(running: Up) -> dict[str, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", running.admin, timeout=5)) as connection:
        connection.request("GET", "/live")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found


@pytest.fixture
def server(servers: Callable[..., list[ModelServer]]) -> Iterator[ModelServer]:
    yield from servers("v1")


def test_who_comes_is_known_and_certificates_are_renewed_without_a_restart(
    up: Callable[..., Up],  # noqa: F811
    server: ModelServer,
    tmp_path: Path,
) -> None:
    old, new, clients = (Authority(tmp_path / name) for name in ("old", "new", "clients"))
    cert, key, trusted = tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "clients.pem"
    own = old.issue("127.0.0.1").read_bytes()
    cert.write_bytes(own)
    key.write_bytes(own)
    trusted.write_bytes(clients.ca.read_bytes())
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(trusted))
    running = up(policy((server, 1)), *flags)
    until(running.ready, 30)
    assert f"an AI gateway on https://127.0.0.1:{running.port}" in running.said()
    known = clients.issue("search.shop.example")
    assert Client(old, known).ask(running) == (200, "v1")
    assert Client(old).ask(running)[0] == 0
    assert Client(old, new.issue("search.shop.example")).ask(running)[0] == 0
    assert Client(old, clients.issue("search.shop.example", expired=True)).ask(running)[0] == 0
    assert len(server.seen) == 1

    before = running.children()
    fresh = new.issue("127.0.0.1").read_bytes()
    cert.write_bytes(fresh)  # without its key it counts for nothing
    key.write_bytes(fresh)
    until(lambda: Client(new, known).ask(running) == (200, "v1"), 30)
    trusted.write_bytes(new.ca.read_bytes())
    until(lambda: Client(new, known).ask(running)[0] == 0, 30)
    assert Client(new, new.issue("chat.shop.example")).ask(running) == (200, "v1")
    assert running.children() == before

    until(lambda: sum(edge["requests"] for edge in live(running)["edges"]) == len(server.seen))
    by_caller = re.findall(r'inference_caller_requests_total\{caller="(.*?)"\} (\d+)', running.metrics())
    assert sum(int(count) for _, count in by_caller) == len(server.seen)
    assert {caller for caller, _ in by_caller} == {"search.shop.example", "chat.shop.example"}
    assert {edge["caller"] for edge in live(running)["edges"]} == {"search.shop.example", "chat.shop.example"}


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--tls-cert", "CERT"), "TLS needs both --tls-cert and --tls-key"),
        (("--tls-client-ca", "CERT"), "TLS needs both --tls-cert and --tls-key"),
        (("--tls-cert", "CERT", "--tls-key", "OTHER"), "is not the key of the certificate in"),
        (("--tls-cert", "CERT", "--tls-key", "/nowhere"), "cannot read /nowhere (--tls-key)"),
    ],
)
def test_files_that_cant_be_used(
    flags: tuple[str, ...],
    problem: str,
    up: Callable[..., Up],  # noqa: F811
    server: ModelServer,
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path / "a")
    files = {"CERT": str(authority.issue("127.0.0.1")), "OTHER": str(authority.issue("other.example"))}
    running = up(policy((server, 1)), *(files.get(flag, flag) for flag in flags))
    assert running.process.wait(20) != 0
    assert problem in running.said()
