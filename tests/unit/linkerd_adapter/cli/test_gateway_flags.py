"""``--namespace`` and ``--name``."""

from __future__ import annotations

import argparse

import pytest
from linkerd_adapter.cli.gateway_flags import add_gateway_flags


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_gateway_flags(parser)
    return parser.parse_args(words)


def test_defaults() -> None:
    assert vars(parsed()) == {"namespace": None, "name": "inference-gateway"}


def test_names_that_kubernetes_takes() -> None:
    assert vars(parsed("--namespace", "edge", "--name", "gw-2")) == {"namespace": "edge", "name": "gw-2"}


@pytest.mark.parametrize("flag", ["--namespace", "--name"])
@pytest.mark.parametrize("name", ["Gate_way", "a.b", "", "1a", "a-", "x" * 64])
def test_other_names_are_refused(flag: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed(flag, name)
    assert left.value.code == 2
    assert "is no name; use lower-case letters" in capsys.readouterr().err
