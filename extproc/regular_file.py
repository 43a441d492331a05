"""Reads files that are polled for changes. Only regular files are read, so that polling never blocks.

Opening a FIFO waits for a writer, and reading a terminal or a device may never return.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO (named pipe)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_regular(path: Path, max_bytes: int) -> bytes:
    """At most ``max_bytes`` bytes of a file. Raises ``OSError``, also if it is no regular file; never blocks."""
    _refuse_others(path.stat().st_mode)  # before it is opened: opening a device may have effects
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(number, "rb") as file:
        _refuse_others(os.fstat(number).st_mode)  # it may have been replaced since
        return file.read(max_bytes)


def _refuse_others(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for holds, name in _KINDS if holds(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, and not a file")
