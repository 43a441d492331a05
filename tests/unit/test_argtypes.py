"""Words of a command line: what they become, and what is said about those that are none."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from extproc import argtypes


def test_what_words_become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "body").write_bytes(b'{"a": 1}\n')
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"from stdin")))
    assert argtypes.header("X-User-Id:  ann: bob ") == ("X-User-Id", "ann: bob")
    assert argtypes.body("text") == b"text"
    assert argtypes.body(f"@{tmp_path / 'body'}") == b'{"a": 1}\n'
    assert argtypes.body("@-") == b"from stdin"
    assert argtypes.seconds("0.5") == 0.5
    assert argtypes.address("[::1]:0") == "[::1]:0"
    assert argtypes.data_address("unix:///run/a.sock") == "unix:///run/a.sock"
    assert argtypes.data_address("h:65535") == "h:65535"
    assert argtypes.count("12") == 12


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (argtypes.header, "x-user-id", "write it as 'name: value'"),
        (argtypes.header, ": v", "is no header"),
        (argtypes.body, "@/nowhere/at/all", "cannot read the body"),
        (argtypes.seconds, "soon", "is no number of seconds"),
        (argtypes.seconds, "-1", "is no number of seconds"),
        (argtypes.seconds, "nan", "is no number of seconds"),
        (argtypes.address, "8080", "write it as host:port"),
        (argtypes.address, "h:65536", "is no address"),
        (argtypes.data_address, "unix://run/a.sock", "unix:///path"),
        (argtypes.count, "0", "is no number from 1"),
        (argtypes.count, "1.5", "is no number from 1"),
    ],
)
def test_what_is_said_about_others(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    assert said in str(caught.value)
