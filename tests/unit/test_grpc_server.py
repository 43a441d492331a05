"""The engines by their names."""

from __future__ import annotations

import sys

import pytest

from extproc import grpc_server
from extproc.grpc_server import DEFAULTS, ENGINES, Settings, create


@pytest.mark.parametrize(("name", "kind"), [("http2", "Http2Engine"), ("aio", "AioEngine")])
def test_an_engine_by_its_name(name: grpc_server.Name, kind: str) -> None:
    engine = create(["127.0.0.1:0"], {}, DEFAULTS, name)
    assert type(engine).__name__ == kind
    assert engine.ports == []


def test_ours_is_the_first_and_the_default() -> None:
    assert ENGINES == ("http2", "aio")
    assert type(create([], {})) is type(create([], {}, DEFAULTS, "http2"))


def test_settings_reach_the_engine() -> None:
    settings = Settings(keepalive=7.0)
    for name in ENGINES:
        assert create([], {}, settings, name)._settings is settings  # type: ignore[attr-defined]


def test_grpcio_is_imported_by_its_own_engine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "extproc.grpc_server.grpcio_server", raising=False)
    create([], {})
    with pytest.raises(ImportError):
        create([], {}, DEFAULTS, "aio")


def test_all_names_are_there() -> None:
    assert all(hasattr(grpc_server, name) for name in grpc_server.__all__)
