"""The memory of a board: an anonymous file that a replica's processes inherit, and the lock on it."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import weakref
from functools import cached_property
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from extproc.picking.board_layout import GENERATION, size

if TYPE_CHECKING:
    from extproc.picking.board import Board  # numpy takes a tenth of a second to load


class SharedBoard:
    """One process' access to it."""

    def __init__(self, workers: int, fd: int | None = None) -> None:
        """``fd``: of the file of the process that has made it; None: makes one. Raises ``OSError``."""
        self.workers = workers
        self.fd = os.memfd_create("extproc board", os.MFD_CLOEXEC) if fd is None else fd
        if fd is None:
            weakref.finalize(self, os.close, self.fd)
            os.ftruncate(self.fd, size(workers))  # pages that nobody touches take no memory
        self._memory = mmap.mmap(self.fd, size(workers))

    @property
    def generation(self) -> int:
        """Counts changes of who is on the board, from 0: nobody ever was."""
        generation: int = struct.unpack_from("q", self._memory, 8 * GENERATION)[0]
        return generation

    @cached_property
    def board(self) -> Board:
        """What stands in it."""
        from extproc.picking.board import Board

        return Board(memoryview(self._memory), self.workers, _Lock(self.fd))


class _Lock:
    """Excludes other threads, and other processes: these by a lock that the kernel lets go where its process ends."""

    def __init__(self, fd: int) -> None:
        self._fd, self._threads = fd, Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        fcntl.lockf(self._fd, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN)
        self._threads.release()
