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
from extproc.gateway.embedded_envoy import Envoy, PolicyFiles, find_envoy
from extproc.policy.snapshot import Snapshot
from extproc.policyfile.watcher import PolicyWatcher
from extproc.render.envoy.envoy_options import Body, EnvoyOptions, host_port
from extproc.serve.child_process import Child
from extproc.serve.options import Options, spread
from extproc.serve.restart_backoff import Restarts
from extproc.serve.signals import caught

__all__ = ["Envoy", "find_envoy", "up"]

_LOOK = 0.5
"""Seconds between two looks at whether the policy is new and the children live."""


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
        refuse_taken(flag, address)
    admin = _settled(admin)
    with TemporaryDirectory(prefix="extproc-") as name, caught() as signals:
        directory = Path(name)
        # Envoy goes first and takes the processor's work with it: nothing is left to wait for.
        processing = Options(
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
            processors=spread(processing.listen, workers),
            body=body,
            fail_open=fail_open,
            access_log=access_log,
            tracing=bool(otlp),
        )
        files = PolicyFiles(options, directory)
        processor = _Processor(processing)
        try:
            _wait_ready(processor.child, admin)
            with Envoy(files.start(watcher.snapshot), directory) as envoy:
                envoy.wait_ready()
                _greet(watcher.snapshot, paths, envoy.listen_address, admin)
                watcher.start()
                _attend(processor, envoy, files, watcher, signals)
                _drain(envoy, drain)
        finally:
            watcher.stop()
            processor.child.end(drain)
    return 0


class _Processor:
    """The process that decides; one after the other, where one ends by itself."""

    def __init__(self, options: Options) -> None:
        """Starts it. Raises ``SetupError``."""
        self._command = [sys.executable, "-m", "extproc", *options.arguments()]
        self._restarts = Restarts()
        self.child = self._start()
        self._running = True

    def look(self) -> None:
        """Starts it again when it has ended and the time has come."""
        now = time.monotonic()
        if not self._running:
            if self._restarts.due(now):
                self._start_again(now)
        elif not self.child.alive:
            self._running = False
            _say(f"extproc: the processor {self._restarts.ended(self.child.process.returncode, now)}")

    def _start(self) -> Child:
        child = Child("the processor", self._command, echo=True)
        self._restarts.started(time.monotonic())
        return child

    def _start_again(self, now: float) -> None:
        try:
            self.child = self._start()
        except SetupError as error:
            _say(f"extproc: {self._restarts.not_started(str(error), now)}")
        else:
            self._running = True


def refuse_taken(flag: str, address: str) -> None:
    """Raises SetupError where nobody can listen on ``address``, before anything is started.

    Envoy shares its ports (SO_REUSEPORT): without this look a second gateway would quietly take half the requests.
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


def _settled(address: str) -> str:
    """With a free port in the place of port 0."""
    host, port = host_port(address)
    if port:
        return address
    with socket.create_server((host, 0)) as free:
        return f"{host}:{free.getsockname()[1]}"


def _wait_ready(processor: Child, admin: str, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not _ready(admin):
        if not processor.alive:
            raise SetupError(processor.exit_report())
        if time.monotonic() > deadline:
            raise SetupError(f"the processor was not ready within {timeout:g} s")
        time.sleep(0.05)


def _ready(admin: str) -> bool:
    connection = http.client.HTTPConnection(*host_port(admin), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _attend(
    processor: _Processor, envoy: Envoy, files: PolicyFiles, watcher: PolicyWatcher, signals: SimpleQueue[int]
) -> None:
    """Returns when we are asked to stop. Raises SetupError where Envoy ends by itself."""
    snapshot = watcher.snapshot
    while True:
        if not envoy.child.alive:
            raise SetupError(envoy.child.exit_report())
        processor.look()
        try:
            number = signals.get(timeout=_LOOK)
        except Empty:
            number = 0
        if number in (signal.SIGTERM, signal.SIGINT):
            return
        if number == signal.SIGHUP:
            processor.child.send(signal.SIGHUP)
            watcher.request_reload()
        if watcher.snapshot is not snapshot:
            snapshot = watcher.snapshot
            _follow(envoy, files, snapshot)


def _follow(envoy: Envoy, files: PolicyFiles, snapshot: Snapshot) -> None:
    try:
        files.follow(envoy, snapshot)
    except (SetupError, OSError, http.client.HTTPException) as error:
        _say(f"extproc: the routes stay as they were: {error}")
    else:
        _say("extproc: the policy has changed, and the routes with it")


def _drain(envoy: Envoy, seconds: float) -> None:
    """A second signal ends it at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    _say(f"extproc: no new requests; open ones have {seconds:g} s to finish")
    envoy.stop(seconds)


def _greet(snapshot: Snapshot, paths: Sequence[Path], listen: str, admin: str) -> None:
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
    _say("\n".join(lines))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
