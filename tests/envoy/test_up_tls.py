"""`extproc up` with model servers behind TLS: its files may change while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import until

from .conftest import say
from .test_up import POLICY, Up, up  # noqa: F401 - a fixture
from .tls_servers import Authority, TlsModelServer

pytestmark = pytest.mark.envoy


def policy(server: TlsModelServer, tls: str) -> str:
    version = f'{{name: v1, endpoints: ["https://{server.address}"], tls: {tls}}}'
    return POLICY.format() + f"  - {version}\n"


def test_certificates_and_authorities_are_renewed_without_a_restart(
    up: Callable[..., Up],  # noqa: F811
    tmp_path: Path,
) -> None:
    """First the server's certificate comes from a new authority, then the authority's file follows by a rename."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    trusted, own = tmp_path / "trusted.pem", tmp_path / "own.pem"
    trusted.write_bytes(old.ca.read_bytes())
    own.write_bytes(old.issue("gateway.example").read_bytes())
    with TlsModelServer("secure", old.issue("127.0.0.1"), old.ca) as server:
        server.then = say(b"secure", connection="close")
        running = up(policy(server, f"{{caFile: {trusted}, certFile: {own}, keyFile: {own}}}"))
        until(running.ready, 30)
        before = running.children()
        assert running.ask() == ("v1", "secure")
        server.use(new.issue("127.0.0.1"), old.ca)
        until(lambda: "No model server can take this request" in running.ask()[1])
        fresh = tmp_path / "fresh.pem"
        fresh.write_bytes(new.ca.read_bytes())
        fresh.replace(trusted)
        until(lambda: running.ask() == ("v1", "secure"), 30)
        server.use(new.issue("127.0.0.1"), new.ca)
        until(lambda: "No model server can take this request" in running.ask()[1])
        own.write_bytes(new.issue("gateway.example").read_bytes())
        until(lambda: running.ask() == ("v1", "secure"), 30)
        assert running.children() == before
    assert 'reason="upstream_unreachable"' in running.metrics()


def test_a_file_that_is_not_there_is_named(up: Callable[..., Up], tmp_path: Path) -> None:  # noqa: F811
    with TlsModelServer("secure", Authority(tmp_path / "a").issue("127.0.0.1")) as server:
        running = up(policy(server, "{caFile: /nowhere/ca.pem}"))
        assert running.process.wait(20) == 1
    assert "cannot read /nowhere/ca.pem, which the policy or a flag names: No such file or directory" in running.said()
