"""``extproc up``: an embedded Envoy and a processor as one gateway on this machine."""

from __future__ import annotations

import http.client
import shlex
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory

from extproc.errors import SetupError
from extproc.gateway.embedded_envoy import DiscoveryFiles, Envoy, find_envoy
from extproc.policy.snapshot import Snapshot
from extproc.policyfile.watcher import PolicyWatcher
from extproc.render.envoy.envoy_options import Body, EnvoyOptions, host_port
from extproc.serve.child_process import ChildProcess
from extproc.serve.options import ServeOptions, spread_addresses
from extproc.serve.restart_backoff import RestartBackoff
from extproc.serve.signals import signal_queue

__all__ = ["Envoy", "find_envoy", "up"]

_POLL_INTERVAL = 0.5
"""Seconds between two polls of the policy and of the child processes."""


def up(
    paths: Sequence[Path],
    listen: str = "127.0.0.1:8080",
    admin: str = "127.0.0.1:9090",
    envoy_admin: str = "127.0.0.1:0",
    *,
    body: Body = "buffered",
    fail_open: bool = True,
    access_log: str = "/dev/stdout",
    drain: float = 10.0,
    workers: int = 1,
    otlp: str = "",
) -> int:
    """Runs until SIGTERM or SIGINT, then drains for up to ``drain`` seconds. The exit status.

    ``workers``: processes that decide; Envoy spreads the requests over them. ``otlp``: URL of a collector.

    A processor that ends by itself is started again; meanwhile Envoy does without it, as ``fail_open`` says.

    Raises ``PolicyProblems``, and ``SetupError`` where the machine does not allow it or Envoy ends by itself.
    """
    watcher = PolicyWatcher(tuple(paths))
    find_envoy()
    for flag, address in (("--listen", listen), ("--admin", admin), ("--envoy-admin", envoy_admin)):
        require_free_port(flag, address)
    admin = _with_free_port(admin)
    with TemporaryDirectory(prefix="extproc-") as name, signal_queue() as signals:
        directory = Path(name)
        # Envoy drains first; once it has, the processor has no open streams, and needs no drain of its own.
        serve_options = ServeOptions(
            policies=tuple(paths),
            listen=(f"unix://{directory / 'processor.sock'}",),
            admin=admin,
            workers=workers,
            drain=0.0,
            otlp=otlp,
        )
        options = EnvoyOptions(
            listen=listen,
            admin=envoy_admin,
            processors=spread_addresses(serve_options.listen, workers),
            body=body,
            fail_open=fail_open,
            access_log=access_log,
            tracing=bool(otlp),
        )
        files = DiscoveryFiles(options, directory)
        processor = _Processor(serve_options)
        try:
            _wait_ready(processor.child, admin)
            with Envoy(files.start(watcher.snapshot), directory) as envoy:
                envoy.wait_ready()
                _print_greeting(watcher.snapshot, paths, envoy.listen_address, admin)
                watcher.start()
                _supervise(processor, envoy, files, watcher, signals)
                _drain(envoy, drain)
        finally:
            watcher.stop()
            processor.child.terminate(drain)
    return 0


class _Processor:
    """The processor's process, restarted where it ends by itself."""

    def __init__(self, options: ServeOptions) -> None:
        """Starts it. Raises ``SetupError``."""
        self._command = [sys.executable, "-m", "extproc", *options.arguments()]
        self._backoff = RestartBackoff()
        self.child = self._start()
        self._running = True

    def poll(self) -> None:
        """Restarts the process where it has ended and that is due."""
        now = time.monotonic()
        if not self._running:
            if self._backoff.is_due(now):
                self._restart(now)
        elif not self.child.alive:
            self._running = False
            _log(f"extproc: the processor {self._backoff.record_exit(self.child.process.returncode, now)}")

    def _start(self) -> ChildProcess:
        child = ChildProcess("the processor", self._command, echo=True)
        self._backoff.record_start(time.monotonic())
        return child

    def _restart(self, now: float) -> None:
        try:
            self.child = self._start()
        except SetupError as error:
            _log(f"extproc: {self._backoff.record_failed_start(str(error), now)}")
        else:
            self._running = True


def require_free_port(flag: str, address: str) -> None:
    """Raises ``SetupError`` where ``address`` is taken; called before anything is started.

    Envoy shares its ports (SO_REUSEPORT): without this check a second gateway would take half of the requests
    unnoticed.
    """
    host, port = host_port(address)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        raise SetupError(
            f"cannot listen on {address} ({flag}): {error.strerror} (errno {error.errno}); "
            f"stop what uses port {port}, or choose another address with {flag}"
        ) from error


def _with_free_port(address: str) -> str:
    """``address``, with a free port in the place of port 0."""
    host, port = host_port(address)
    if port:
        return address
    with socket.create_server((host, 0)) as free:
        return f"{host}:{free.getsockname()[1]}"


def _wait_ready(processor: ChildProcess, admin: str, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not _is_ready(admin):
        if not processor.alive:
            raise SetupError(processor.exit_report())
        if time.monotonic() > deadline:
            raise SetupError(f"the processor was not ready within {timeout:g} s")
        time.sleep(0.05)


def _is_ready(admin: str) -> bool:
    connection = http.client.HTTPConnection(*host_port(admin), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _supervise(
    processor: _Processor, envoy: Envoy, files: DiscoveryFiles, watcher: PolicyWatcher, signals: SimpleQueue[int]
) -> None:
    """Returns at a signal to stop. Raises ``SetupError`` where Envoy ends by itself."""
    snapshot = watcher.snapshot
    while True:
        if not envoy.child.alive:
            raise SetupError(envoy.child.exit_report())
        processor.poll()
        try:
            number = signals.get(timeout=_POLL_INTERVAL)
        except Empty:
            number = 0
        if number in (signal.SIGTERM, signal.SIGINT):
            return
        if number == signal.SIGHUP:
            processor.child.send_signal(signal.SIGHUP)
            watcher.request_reload()
        if watcher.snapshot is not snapshot:
            snapshot = watcher.snapshot
            _follow(envoy, files, snapshot)


def _follow(envoy: Envoy, files: DiscoveryFiles, snapshot: Snapshot) -> None:
    try:
        files.follow(envoy, snapshot)
    except (SetupError, OSError, http.client.HTTPException) as error:
        _log(f"extproc: the routes stay as they were: {error}")
    else:
        _log("extproc: the policy has changed, and the routes with it")


def _drain(envoy: Envoy, seconds: float) -> None:
    """Drains Envoy for up to ``seconds``; a second signal ends it at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    _log(f"extproc: no new requests; open ones have {seconds:g} s to finish")
    envoy.stop(seconds)


def _print_greeting(snapshot: Snapshot, paths: Sequence[Path], listen: str, admin: str) -> None:
    model = next((m.pattern for m in snapshot.patterns if "*" not in m.pattern), "llama-3-8b")
    request = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    json = "-H 'content-type: application/json'"
    lines = (
        f"extproc: an AI gateway on http://{listen}",
        *(f"  policy   {path} (watched)" for path in paths),
        f"  models   {', '.join(m.pattern for m in snapshot.patterns)}",
        f"  page     http://{admin}/",
        f"  metrics  http://{admin}/metrics",
        f"  try      curl http://{listen}/v1/chat/completions {json} -d {shlex.quote(request)}",
    )
    _log("\n".join(lines))


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
