"""Asks a processor that is only just starting, as soon as somebody listens; a process of its own.

The message comes on standard input. Prints one line when it begins to look, and the monotonic clock at the answer.
"""

from __future__ import annotations

import sys
import time

import grpc

from benchmarks.mesh.processes import listens
from extproc.envoy.codec import PROCESS


def main() -> int:
    """The clock is the system's, so the parent's begin and our end compare."""
    address = sys.argv[1]
    message = sys.stdin.buffer.read()
    print("ready", flush=True)
    while not listens(address):
        time.sleep(0.001)
    with grpc.insecure_channel(address) as channel:
        next(channel.stream_stream(PROCESS)(iter([message])))
        print(time.monotonic(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
