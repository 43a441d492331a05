"""The admin port: metrics, health, the policy in force and live requests, over HTTP.

Loopback by default: whoever can reach it can read the policy, and which caller asks for which model. Requests are few,
so each connection has a thread, of a bounded number (``bounded_server``).
"""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from extproc.admin import page
from extproc.admin.bounded_server import BoundedHandler, BoundedServer
from extproc.errors import cannot_listen
from extproc.telemetry import live_document, trace_view
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import TrafficReport
from extproc.telemetry.rollout_gauges import RolloutGauges, exposition
from extproc.telemetry.spans import Span
from extproc.telemetry.tap import TapFilter

_PATHS = ("/metrics", "/healthz", "/readyz", "/config", "/live", "/recent", "/rollouts", "/tap", "/traces")
_MAX_TAPS = 16
"""OpenTaps at a time: each keeps a thread."""
_TAP_SEND_BUFFER = 128 << 10
"""Bytes that the kernel buffers for a tap whose client reads slowly or not at all (SO_SNDBUF)."""

AdminResponse: TypeAlias = tuple[int, str, bytes]
"""Status, content type, body."""
T = TypeVar("T", bound=msgspec.Struct)


class AdminContent(msgspec.Struct, frozen=True):
    """Where the admin port gets what it serves."""

    metrics: Callable[[], Metrics]
    ready: Callable[[], str]
    """Why the processor is not ready; empty where it is."""
    config: Callable[[], Mapping[str, Any]]
    recent: Callable[[], TrafficReport]
    tap: Callable[[TapFilter], AbstractContextManager[Iterator[bytes]]]
    """Opens a stream of lines of JSON, each a finished exchange, or empty as a heartbeat."""
    rollouts: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    """As ``rollout.status.describe`` has them."""
    evidence: Callable[[], bytes] = bytes
    """What verdicts on rollouts need (``telemetry.measured_versions``)."""
    spans: Callable[[], Sequence[Span]] = tuple
    """The latest that others have sent (``telemetry.received_spans``)."""
    raw_spans: Callable[[], bytes] = bytes
    """The same as they came."""


class AdminServer:
    """Serves the page and ``/metrics /healthz /readyz /config /live /rollouts /tap /traces``; for other processes of
    ours ``/recent``, ``/state``, ``/evidence`` and ``/spans``.
    """

    def __init__(self, address: str, content: AdminContent) -> None:
        """Listens on ``host:port`` (port 0: any that is free) or ``unix:///path``. Raises ``SetupError``."""
        self.content = content
        self.taps = BoundedSemaphore(_MAX_TAPS)
        admin = self

        class Handler(_Handler):
            owner = admin

        try:
            self._server = _listen(address, Handler)
        except (OSError, ValueError) as error:
            raise cannot_listen(address, "--admin", getattr(error, "strerror", None) or str(error)) from None
        bound = self._server.server_address
        self.port = 0 if address.startswith("unix:") else int(bound[1])
        self.local = not self.port or _is_loopback(str(bound[0]))
        """Whether only this machine can reach it."""
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="admin", daemon=True
        )

    def start(self) -> None:
        """Starts to answer, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and frees the port."""
        self._server.shutdown()
        self._server.server_close()

    def respond(self, path: str, query: Mapping[str, str], accept: str) -> AdminResponse:
        """The response for ``path``. Raises ``ValueError`` where a parameter of ``query`` is unknown or wrong."""
        content = self.content
        match path:
            case "/metrics":
                return 200, *exposition(accept, content.metrics(), RolloutGauges(content.rollouts()))
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                reason = content.ready()
                return (503, _TEXT, f"not ready: {reason}\n".encode()) if reason else (200, _TEXT, b"ready\n")
            case "/config":
                return 200, _JSON, json.dumps(content.config(), indent=2).encode() + b"\n"
            case "/recent":
                return 200, _JSON, msgspec.json.encode(content.recent())
            case "/rollouts":
                return 200, _JSON, msgspec.json.encode(content.rollouts()) + b"\n"
            case "/live":
                asked = _parse_query(query, live_document.LiveQuery)
                found = live_document.build_document(
                    content.recent(), content.config(), content.metrics(), content.ready(), asked, content.rollouts()
                )
                return 200, _JSON, msgspec.json.encode(found) + b"\n"
            case "/traces":
                shown = trace_view.build_document(content.spans(), _parse_query(query, trace_view.TracesQuery))
                return 200, _JSON, msgspec.json.encode(shown) + b"\n"
        if response := self._respond_to_process(path):
            return response
        if asset := page.asset(path, accept):
            return 200, *asset
        if path == "/":
            return 200, _TEXT, "".join(f"{one}\n" for one in _PATHS).encode()
        return 404, _TEXT, f"not found; there are {' '.join(_PATHS)}\n".encode()

    def _respond_to_process(self, path: str) -> AdminResponse | None:
        """The response to another process of ours, as a supervisor; None where ``path`` is for others."""
        match path:
            case "/state":
                return 200, "application/msgpack", self.content.metrics().state()
            case "/evidence":
                return 200, "application/msgpack", self.content.evidence()
            case "/spans":
                return 200, "application/x-protobuf", self.content.raw_spans()
        return None


_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Server(BoundedServer):
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs what is not merely a client that hung up."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _UnixServer(_Server):
    address_family = socket.AF_UNIX


def _listen(address: str, handler: type[_Handler]) -> _Server:
    if address.startswith("unix://"):
        path = address.removeprefix("unix://")
        Path(path).unlink(missing_ok=True)
        return _UnixServer(path, handler)
    host, _, port = address.rpartition(":")
    return _Server((host.strip("[]"), int(port)), handler)


class _Handler(BoundedHandler):
    owner: AdminServer

    def do_GET(self) -> None:  # noqa: N802 - the base class wants this name
        path, _, query = self.path.partition("?")
        asked = dict(parse_qsl(query, keep_blank_values=True))
        try:
            if self._is_rebound():
                self.send(421, _TEXT, b"this admin port is this machine's own: ask for it as localhost\n")
            elif self._is_of_another_site():
                self.send(403, _TEXT, b"pages of other web sites get nothing here\n")
            elif path == "/tap":
                self._tap(_parse_query(asked, TapFilter))
            else:
                self.send(*self.owner.respond(path, asked, self.headers.get("accept", "")))
        except ValueError as error:
            self.send(400, _TEXT, f"{error}\n".encode())

    do_HEAD = do_GET  # noqa: N815

    def _is_rebound(self) -> bool:
        """Whether a browser takes this loopback port for a web site (DNS rebinding), whose scripts could read it."""
        host = urlsplit(f"//{self.headers.get('host', 'localhost')}").hostname or ""
        return self.owner.local and not (host == "localhost" or _is_ip(host))

    def _is_of_another_site(self) -> bool:
        """Whether a script or an element of another site's page asks: it could read nothing, but take the room of taps.

        Following a link is a navigation. Source: W3C Fetch Metadata Request Headers.
        """
        return (
            self.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
            and self.headers.get("sec-fetch-mode") != "navigate"
        )

    def _tap(self, wanted: TapFilter) -> None:
        if not self.owner.taps.acquire(blocking=False):
            self.send(503, _TEXT, f"{_MAX_TAPS} tap this processor already\n".encode())
            return
        try:
            self.server.exempt(self.connection)
            with self.owner.content.tap(wanted) as lines:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _TAP_SEND_BUFFER)
                self.send_head(200, "application/x-ndjson", ("transfer-encoding", "chunked"))
                if self.command == "HEAD":
                    return
                for line in chain([b"\n"], lines):  # whoever has the first line misses nothing from now on
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        finally:
            self.owner.taps.release()


def _parse_query(query: Mapping[str, str], kind: type[T]) -> T:
    """The parameters of a URL as ``kind``. Raises ``ValueError`` where one is unknown or wrong."""
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{error}; there are: {', '.join(kind.__struct_fields__)}") from None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
