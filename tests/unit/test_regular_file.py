"""Regular files are read; whatever else stands there is named, and nobody waits for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extproc.regular_file import read_regular


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Things that are no regular files. A relative path is short enough for a socket."""
    fifo, folder, sock, link = (tmp_path / name for name in ("fifo", "folder", "s", "link"))
    os.mkfifo(fifo)
    folder.mkdir()
    link.symlink_to(fifo)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        there = os.open(tmp_path, os.O_PATH)
        stack.callback(os.close, there)
        listener.bind(f"/proc/self/fd/{there}/s")
        yield {
            "a FIFO (named pipe)": fifo,
            "a directory": folder,
            "a socket": sock,
            "a device": Path("/dev/zero"),
            "a FIFO": link,
        }


def test_a_file_is_read_as_far_as_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 4) == b"abcd"
    assert read_regular(tmp_path / "file", 10) == b"abcdef"


def test_what_is_no_file_is_named(odd: dict[str, Path]) -> None:
    for kind, path in odd.items():
        with pytest.raises(OSError, match="and not a file") as caught:
            read_regular(path, 10)
        assert kind in str(caught.value)


def test_what_becomes_a_pipe_between_two_looks_is_no_file(
    odd: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"a")
    before = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: before)
    with pytest.raises(OSError, match="it is a FIFO"):
        read_regular(odd["a FIFO (named pipe)"], 10)


def test_what_is_missing_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 10)
