"""What a process holds, to see that it leaks nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Footprint(NamedTuple):
    """What a process holds."""

    files: int
    boards: int
    """Shared memory: anonymous files of a board."""
    threads: int
    memory: int
    """KiB that are resident."""


def footprint(pid: int) -> Footprint:
    """That of a process."""
    place = Path("/proc", str(pid))
    links = []
    for each in (place / "fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            links.append(str(each.readlink()))
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    boards = sum(link.startswith("/memfd:extproc") for link in links)
    return Footprint(len(links), boards, int(status["Threads"]), int(status["VmRSS"].split()[0]))
