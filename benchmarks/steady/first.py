"""Asks a processor that is only just starting, as soon as its socket is there; a process of its own.

The message comes on standard input. Prints one line when it begins to look, and the monotonic clock at the answer.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import grpc

from extproc.envoy.codec import PROCESS


def main() -> int:
    """The clock is the system's, so the parent's begin and our end compare."""
    path = Path(sys.argv[1])
    message = sys.stdin.buffer.read()
    print("ready", flush=True)
    while not _listens(path):
        time.sleep(0.001)
    with grpc.insecure_channel(f"unix://{path}") as channel:
        next(channel.stream_stream(PROCESS)(iter([message])))
        print(time.monotonic(), flush=True)
    return 0


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
