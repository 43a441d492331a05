"""The pages of a controller, over HTTP: its health, how far rollouts are, and that as metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Any

import msgspec

from extproc.admin.bounded_server import BoundedHandler, BoundedServer
from extproc.errors import cannot_listen
from extproc.telemetry.rollout_gauges import RolloutGauges, exposition

_TEXT = "text/plain; charset=utf-8"
_PATHS = "/healthz /metrics /rollouts"


class ControllerPages:
    """Serves ``/healthz``, ``/metrics`` and ``/rollouts``. They hold names of policies and versions, no secret."""

    def __init__(self, address: str, rollouts: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Listens on ``host:port`` (port 0: any that is free). ``rollouts``: as ``rollout.status.describe`` has them.
        Raises ``SetupError``.
        """
        self._rollouts = rollouts
        pages = self

        class Handler(_Handler):
            owner = pages

        host, _, port = address.rpartition(":")
        try:
            self._server = BoundedServer((host.strip("[]"), int(port)), Handler)
        except (OSError, ValueError) as error:
            raise cannot_listen(address, "--admin", getattr(error, "strerror", None) or str(error)) from None
        self.port = int(self._server.server_address[1])
        self._thread = Thread(target=self._server.serve_forever, args=[0.1], name="admin", daemon=True)

    def start(self) -> None:
        """Starts to answer, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and frees the port."""
        self._server.shutdown()
        self._server.server_close()

    def respond(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Status, content type and body for ``path``."""
        match path:
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/metrics":
                return 200, *exposition(accept, RolloutGauges(self._rollouts()))
            case "/rollouts":
                return 200, "application/json", msgspec.json.encode(self._rollouts()) + b"\n"
        return 404, _TEXT, f"not found; there are {_PATHS}\n".encode()


class _Handler(BoundedHandler):
    owner: ControllerPages

    def do_GET(self) -> None:  # noqa: N802 - the base class wants this name
        self.send(*self.owner.respond(self.path.partition("?")[0], self.headers.get("accept", "")))

    do_HEAD = do_GET  # noqa: N815
