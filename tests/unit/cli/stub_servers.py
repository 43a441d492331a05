"""HTTP servers for tests of commands: an admin port with fixed content, and a model server that counts requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

BOUNDS = [
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 2.5, 5, 7.5, 10),
    *(15, 20, 30, 40, 60, 80, 120, 160, 320),
]
"""Of the processor's histogram of durations, in seconds."""

RECORD: dict[str, Any] = {
    "time": "2026-01-02T03:04:05.678+00:00",
    "code": "200",
    "failed": False,
    "model": "llama",
    "asked": "llama",
    "version": "v1",
    "gpu_pool": "west",
    "api": "openai",
    "operation": "chat.completions",
    "cohort": "weight",
    "policy": "chat",
    "caller": "",
    "ms": 123.4,
    "ttft_ms": 8.25,
    "tpot_ms": None,
    "input_tokens": 7,
    "output_tokens": 19,
    "cached_tokens": None,
    "estimated": False,
    "streamed": True,
    "error": "",
    "traceparent": "",
    "observed": True,
}
"""A line of /tap."""


def row(caller: str, model: str, version: str, pool: str, requests: int = 1, failures: int = 0) -> list[Any]:
    """A row of /recent: requests of 0.1 s."""
    buckets = [requests if bound == 0.1 else 0 for bound in BOUNDS] + [0]
    return [[caller, model, version, pool], [requests, failures, 0, 0, [BOUNDS, buckets, 0.1 * requests], None, None]]


def recent(*rows: list[Any]) -> dict[str, Any]:
    """The document /recent of a processor that has run for ten seconds."""
    return {"now": 1010.0, "started": 1000.0, "slices": [{"number": 201, "rows": list(rows)}]}


CONFIG = {
    "policies": [
        {
            "models": ["llama"],
            "versions": [{"name": "v1", "mirror": None}, {"name": "copy", "mirror": 10}],
            "targets": [
                {"version": "v1", "pool": "west", "endpoints": []},
                {"version": "copy", "pool": "", "endpoints": []},
            ],
        }
    ]
}


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """``host:port`` of a server on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def admin_port(tap: bytes = b"", **documents: Any) -> Iterator[tuple[str, list[str]]]:
    """Its ``host:port``, and the paths that were requested. ``documents``: by the path's name, as JSON."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            name = self.path.partition("?")[0].removeprefix("/")
            body = tap if name == "tap" else json.dumps(documents[name]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield address, paths


class ModelServer(BaseHTTPRequestHandler):
    """Answers 200, or 503 to requests with the header ``x-fail``, 400 where that says so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response({None: 200, "400": 400}.get(self.headers.get("x-fail"), 503))
        self.send_header("server-timing", "route;dur=1.5, upstream;dur=2, total;dur=3")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass
