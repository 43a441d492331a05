"""`extproc up`: its flags reach the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.cli.main import main
from extproc.gateway import up
from tests.unit.cli.command_lines import flags, help_of, refused


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []

    def recorded(*arguments: Any, **named: Any) -> int:
        found.append((*arguments, named))
        return 0

    monkeypatch.setattr(up, "up", recorded)
    return found


def test_defaults() -> None:
    assert flags("up", "-f", "p") == {
        "file": [Path("p")],
        "listen": "127.0.0.1:8080",
        "admin": "127.0.0.1:9090",
        "envoy_admin": "127.0.0.1:0",
        "body": "buffered",
        "fail_closed": False,
        "access_log": "/dev/stdout",
        "workers": 1,
        "otlp": "",
        "locality": "",
        "tls_cert": None,
        "tls_key": None,
        "tls_client_ca": None,
        "session_key": None,
    }


def test_flags_reach_the_gateway(calls: list[tuple[Any, ...]]) -> None:
    words = "-f p --listen 0.0.0.0:80 --admin h:1 --envoy-admin [::1]:2 --body native --fail-closed --access-log f"
    more = ("--workers", "4", "--otlp", "http://c:4317", "--locality", "us/a", "--session-key", "k")
    assert main(["up", *words.split(), *more]) == 0
    assert main(["up", "-f", "p"]) == 0
    named: dict[str, Any] = {
        "body": "native",
        "fail_open": False,
        "access_log": "f",
        "workers": 4,
        "otlp": "http://c:4317",
        "locality": "us/a",
    }
    named |= {"tls": None, "session_key": Path("k")}
    assert calls[0] == ([Path("p")], "0.0.0.0:80", "h:1", "[::1]:2", named)
    assert calls[1][-1]["fail_open"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: -f/--file"),
        (["-f", "p", "--listen", "8080"], "--listen: '8080' is no address"),
        (
            ["-f", "p", "--admin", "unix:///s"],
            "--admin: 'unix:///s' is a unix socket, which can't be used here; give host:port",
        ),
        (["-f", "p", "--envoy-admin", "h:x"], "--envoy-admin: 'h:x' is no address"),
        (
            ["-f", "p", "--listen", "localhost:80"],
            "--listen: 'localhost:80' has a name, and Envoy listens on IP addresses",
        ),
        (["-f", "p", "--workers", "0"], "--workers: '0' is no number from 1"),
    ],
)
def test_bad_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, "up", *words)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc up -f policy.yaml --workers 4 --fail-closed" in help_of(capsys, "up")
