"""Reads files that are looked at again and again: regular ones only, so that no look ever blocks.

To open a FIFO waits for whoever writes into it, and to read a terminal or a device may wait for ever. A watcher that
waits sees no change any more.
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


def read_regular(path: Path, most: int) -> bytes:
    """At the most ``most`` bytes of a file. Raises ``OSError``, also for what is no regular file; never blocks."""
    _refuse_others(path.stat().st_mode)  # before it is opened: to open a device may do something
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(number, "rb") as file:
        _refuse_others(os.fstat(number).st_mode)  # it may have been replaced meanwhile
        return file.read(most)


def _refuse_others(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for holds, name in _KINDS if holds(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, and not a file")
