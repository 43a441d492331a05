"""The admin port: metrics, health and the policy in force, over HTTP. Floor 5.

Loopback by default; whoever can reach it can read the policy. Requests are few, so a thread each will do.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Thread
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from extproc.errors import SetupError
from extproc.metrics import Metrics


class Admin:
    """Serves ``/metrics /healthz /readyz /config``, and ``/state`` to a supervisor."""

    def __init__(
        self,
        address: str,
        metrics: Callable[[], Metrics],
        ready: Callable[[], str],
        config: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Listens at once on ``host:port`` (0: any) or ``unix:///path``; raises ``SetupError`` where it can't.

        ``ready`` tells why we are not ready, empty when we are. ``config`` gives what ``/config`` shows.
        """
        self._metrics = metrics
        self._ready = ready
        self._config = config
        admin = self

        class Handler(_Handler):
            owner = admin

        try:
            self._server = _listen(address, Handler)
        except (OSError, ValueError) as error:
            raise SetupError(
                f"cannot listen on {address} for the admin port: {error}; stop what uses it, or choose another "
                "address with --admin"
            ) from None
        self.port = 0 if address.startswith("unix:") else int(self._server.server_address[1])
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="admin", daemon=True
        )

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and frees the port."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """(status, content type, body) for one path."""
        match path:
            case "/metrics":
                encoder, content_type = choose_encoder(accept)
                return 200, content_type, encoder(self._registry())
            case "/state":
                return 200, "application/msgpack", self._metrics().state()
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                reason = self._ready()
                return (503, _TEXT, f"not ready: {reason}\n".encode()) if reason else (200, _TEXT, b"ready\n")
            case "/config":
                return 200, "application/json", json.dumps(self._config(), indent=2).encode() + b"\n"
            case "/":
                return 200, _TEXT, b"/metrics\n/healthz\n/readyz\n/config\n"
            case _:
                return 404, _TEXT, b"not found; there are /metrics /healthz /readyz /config\n"

    def _registry(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(self._metrics())
        return registry


_TEXT = "text/plain; charset=utf-8"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news; anything else is ours to know."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _UnixServer(_Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Without the names that the base class looks up for an address of the internet's."""
        TCPServer.server_bind(self)


def _listen(address: str, handler: type[_Handler]) -> _Server:
    if address.startswith("unix://"):
        path = address.removeprefix("unix://")
        Path(path).unlink(missing_ok=True)
        return _UnixServer(path, handler)  # type: ignore[arg-type]  # a path is the address here
    host, _, port = address.rpartition(":")
    return _Server((host.strip("[]"), int(port)), handler)


class _Handler(BaseHTTPRequestHandler):
    owner: Admin
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that an idle connection may stay
    server_version = "extproc"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status, content_type, body = self.owner.answer(path, self.headers.get("accept", ""))
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Scrapes and probes are not news."""
