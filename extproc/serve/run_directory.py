"""Directories in the temporary folder that hold what one run needs: sockets, Envoy's files, a demo's policy.

A run that ends removes its own. What a run that was killed has left is removed by the next run of the same user: a
living one holds a lock on a file in its directory, which the kernel lets go of however the process ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "extproc-"
_LOCK = "lock"


class RunDirectory:
    """A directory of this run, until ``remove``. Making one removes those that killed runs have left."""

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Removes it with all that it holds. May be called again."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


@contextmanager
def run_directory() -> Iterator[Path]:
    """A directory for as long as the block lasts."""
    directory = RunDirectory()
    try:
        yield directory.path
    finally:
        directory.remove()


def _sweep(folder: Path) -> None:
    """Removes directories whose lock nobody holds. One without a lock file may be about to get it, and stays."""
    for path in folder.glob(f"{PREFIX}*"):
        try:
            # Not through a symbolic link, and nobody else's: the folder is everybody's.
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
