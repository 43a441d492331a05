"""The flags that describe an HTTP request."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from extproc.command_line.request_flags import add_header_flag, add_request_flags, body, header


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(exit_on_error=False)
    add_request_flags(found)
    return found


def test_defaults() -> None:
    assert vars(parser().parse_args(["--path", "/p?q=1"])) == {
        "method": "POST",
        "path": "/p?q=1",
        "header": [],
        "body": b"",
    }


def test_all_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\xff")))
    found = parser().parse_args(["--method", "PUT", "--path", "/", "-H", "A: b:c", "--header", "a:", "--body", "@-"])
    assert (found.method, found.header, found.body) == ("PUT", [("A", "b:c"), ("a", "")], b"\xff")


def test_headers_of_one_command_line_are_not_in_the_next() -> None:
    one = argparse.ArgumentParser()
    add_header_flag(one)
    assert one.parse_args(["-H", "a: b"]).header == [("a", "b")]
    assert one.parse_args([]).header == []


@pytest.mark.parametrize(
    ("words", "said"), [(["-H", "a"], "is no header"), (["--body", "@/nowhere"], "cannot read the body")]
)
def test_bad_words(words: list[str], said: str) -> None:
    with pytest.raises(argparse.ArgumentError) as caught:
        parser().parse_args(["--path", "/", *words])
    assert said in str(caught.value)


def test_a_path_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    one = argparse.ArgumentParser()
    add_request_flags(one)
    with pytest.raises(SystemExit):
        one.parse_args([])
    assert "--path" in capsys.readouterr().err


def test_what_words_become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "body").write_bytes(b'{"a": 1}\n')
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"from stdin")))
    assert header("X-User-Id:  ann: bob ") == ("X-User-Id", "ann: bob")
    assert header("a:") == ("a", "")
    assert body("text") == b"text"
    assert body(f"@{tmp_path / 'body'}") == b'{"a": 1}\n'
    assert body("@-") == b"from stdin"


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (header, "x-user-id", "write it as 'name: value'"),
        (header, ": v", "is no header"),
        (body, "@/nowhere/at/all", "cannot read the body"),
    ],
)
def test_words_that_are_none(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        read(text)
