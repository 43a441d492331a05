"""`python -m benchmarks.cold`: what a request costs with cold caches, counted by valgrind's simulated ones.

A processor with little to do finds the caches full of other programs' data at each request. Counted are the
instructions from the bytes that arrive on a socket to those that leave, and the lines of 64 bytes that must be fetched
for them, code and data, with a cache of 2 MB that is emptied before each request. It reads no clock, so other load does
not show.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import msgspec
import numpy as np
from hpack import Encoder

from benchmarks import ours
from benchmarks.mesh.load import Workload
from benchmarks.mesh.scenarios import example_snapshot
from benchmarks.requests import headers_message, pieces
from extproc.envoy.codec import PROCESS
from extproc.grpc_server.call import CallServices
from extproc.grpc_server.client_socket import RECEIVE_SIZE, ClientSocket
from extproc.grpc_server.contract import LoopLag
from extproc.http2 import frames as f
from extproc.http2.connection import Connection
from extproc.serve.servicer import handler_factory
from extproc.telemetry.metrics import Metrics

KINDS = {
    "0.5 KB chat": Workload("chat", 512),
    "16 KB chat": Workload("chat", 16 << 10),
    "path only": Workload("path", 0),
}
WARM, COUNTED = 100, 100
"""Requests before the count begins, and requests that are counted."""
CACHE = 2 << 20
"""Bytes of the simulated last-level cache."""
_PLACE = (*ClientSocket.__module__.split("."), ClientSocket.__name__)
READ = f"*pw_{'_'.join(f'{len(name)}{name}' for name in _PLACE)}_*read"
"""The pattern of what is counted: ``ClientSocket.read``, as Cython names it in C, and all that it calls."""

Ask: TypeAlias = Callable[[], bytes]


def main() -> int:
    """Progress on stderr, JSON on stdout; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cold",
        description="What a request costs where caches are cold, by valgrind's simulated ones: three minutes.",
        epilog="Needs valgrind (Debian: apt-get install valgrind) and a C compiler. Example: "
        "python -m benchmarks.cold > cold.json",
    )
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)  # what valgrind runs: a kind, and how many
    if child := parser.parse_args().child:
        serve(KINDS[child[0]], int(child[1]))
        return 0
    print("Compiling ours …", file=sys.stderr)
    built = ours.compiled()
    if shutil.which("valgrind") is None or isinstance(built, str):
        why = "valgrind is missing (Debian: apt-get install valgrind)" if isinstance(built, Path) else built
        print(f"nothing was counted: {why}", file=sys.stderr)
        return 1
    found = {}
    for kind in KINDS:
        print(f"Counting {kind} …", file=sys.stderr)
        found[kind] = count(kind, built)
        print(f"{kind}: {', '.join(f'{value:,} {name}' for name, value in found[kind].items())}", file=sys.stderr)
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return 0


def count(kind: str, built: Path) -> dict[str, int]:
    """Per request: the difference of a run with ``COUNTED`` requests and one with none."""
    with TemporaryDirectory() as directory:
        none, some = (_events(kind, built, number, Path(directory) / str(number)) for number in (0, COUNTED))
    ir, _, _, _, _, _, code, read, written = ((b - a) // COUNTED for a, b in zip(none, some, strict=True))
    return {"instructions": ir, "lines of code": code, "lines of data": read + written}


def _events(kind: str, built: Path, number: int, out: Path) -> list[int]:
    """Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw, as callgrind has them."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--cache-sim=yes", f"--LL={CACHE},16,64"]
    child = [sys.executable, "-P", "-m", "benchmarks.cold", kind, str(number)]
    environment = {**os.environ, "PYTHONPATH": f"{built}{os.pathsep}{ours.ROOT}", "PYTHONHASHSEED": "0"}
    command = [*valgrind, "--collect-atstart=no", f"--toggle-collect={READ}", *child]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (totals,) = (line for line in out.read_text().splitlines() if line.startswith("totals:"))
    return [int(value) for value in totals.split()[1:]]


def serve(workload: Workload, number: int) -> list[bytes]:
    """The answers to ``number`` requests to a processor in this process, after ``WARM`` others."""
    answers = []
    junk = np.zeros(2 * CACHE, dtype=np.uint8)
    client, server = socket.socketpair()
    with client, server:
        ask = _asks(workload, client, server)
        for _ in range(WARM):
            ask()
        for _ in range(number):
            junk += 1
            answers.append(ask())
    return answers


def _asks(workload: Workload, client: socket.socket, server: socket.socket) -> Ask:
    """A function that sends one request and returns the bytes of its answer."""
    snapshot, metrics = example_snapshot("127.0.0.1:9"), Metrics()
    factories = {PROCESS.encode(): handler_factory(lambda: snapshot, metrics)}
    services = CallServices(factories, LoopLag(), lambda _, __: None, lambda _, __: None)
    connection = Connection(services.new_call)
    client_socket = ClientSocket(server, connection, None, memoryview(bytearray(RECEIVE_SIZE)), 0.0)
    client.sendall(f.PREFACE + f.settings({}) + f.window_update(0, 1 << 30))
    client_socket.read(0.0)
    client.recv(CACHE)
    messages, encoder, last = _messages(workload), Encoder(), -1

    def ask() -> bytes:
        nonlocal last
        last += 2
        head = f.frame(f.HEADERS, f.END_HEADERS, last, encoder.encode(_STREAM))
        client.sendall(head + b"".join(_data(last, len(message).to_bytes(5) + message) for message in messages))
        client_socket.read(0.0)
        answer = client.recv(CACHE)
        client.sendall(f.rst_stream(last, f.NO_ERROR))  # as Envoy does
        client_socket.read(0.0)
        return answer

    return ask


def _data(stream: int, content: bytes) -> bytes:
    """Frames with a message that begins one of its own."""
    starts = range(0, len(content), f.MAX_FRAME_SIZE)
    return b"".join(f.frame(f.DATA, 0, stream, content[at : at + f.MAX_FRAME_SIZE]) for at in starts)


_STREAM = (
    *((":method", "POST"), (":scheme", "http"), (":path", PROCESS), (":authority", "aimesh-0"), ("te", "trailers")),
    *(("grpc-timeout", "200m"), ("content-type", "application/grpc"), ("x-envoy-internal", "true")),
)
"""The headers of an Envoy's stream."""


def _messages(workload: Workload) -> list[bytes]:
    """What Envoy sends for a request, of which it shows the headers that may decide."""
    body = workload.payload()
    named = {":authority": "llama", ":path": workload.path, ":method": "POST", "content-length": str(len(body))}
    return [headers_message({**named, **workload.headers}), *(pieces(body, len(body)) if workload.body else ())]


if __name__ == "__main__":
    raise SystemExit(main())
