"""``extproc up``: an embedded Envoy and a processor as one gateway on this machine."""

from __future__ import annotations

import secrets
import shlex
import signal
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from extproc.errors import SetupError
from extproc.gateway.discovery_files import DiscoveryFiles
from extproc.gateway.envoy_binary import find_envoy
from extproc.gateway.envoy_process import Envoy
from extproc.gateway.free_ports import require_free_port, with_free_port
from extproc.gateway.processor_process import Processor
from extproc.policy.snapshot import Snapshot
from extproc.policyfile.session_keys import read_session_keys, session_key_of
from extproc.policyfile.watcher import PolicyWatcher
from extproc.render.envoy.envoy_options import SYSTEM_AUTHORITIES, Body, DownstreamTls, EnvoyOptions
from extproc.serve.options import ServeOptions, spread_addresses
from extproc.serve.run_directory import run_directory
from extproc.serve.signals import signal_queue

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
    locality: str = "",
    tls: DownstreamTls | None = None,
    session_key: Path | None = None,
) -> int:
    """Runs until SIGTERM or SIGINT, then drains for up to ``drain`` seconds. The exit status.

    ``workers``: processes that decide; Envoy spreads the requests over them. ``otlp``: URL of a collector.
    ``locality``: where this is. ``tls``: clients speak it, to certificates that may be renewed while it runs.
    ``session_key``: the file with keys of session tags; without one, a key is made, and tags hold until the end.

    A processor that ends by itself is started again; meanwhile Envoy does without it, as ``fail_open`` says.

    Raises ``PolicyProblems``, and ``SetupError`` where the machine does not allow it or Envoy ends by itself.
    """
    made = secrets.token_hex(32)
    keys = read_session_keys(session_key) or (session_key_of(made.encode()),)
    # The processor tells of what is wrong with the policies.
    watcher = PolicyWatcher(tuple(paths), quiet=True, locality=locality, session_keys=keys)
    find_envoy()
    _require_folder(access_log)
    for flag, address in (("--listen", listen), ("--admin", admin), ("--envoy-admin", envoy_admin)):
        require_free_port(flag, address)
    admin = with_free_port(admin)
    with run_directory() as directory, signal_queue() as signals:
        if session_key is None:
            session_key = directory / "session-key"
            session_key.write_text(made)
        # Envoy drains first; once it has, the processor has no open streams, and needs no drain of its own.
        serve_options = ServeOptions(
            policies=tuple(paths),
            listen=(f"unix://{directory / 'processor.sock'}",),
            admin=admin,
            workers=workers,
            drain=0.0,
            otlp=otlp,
            locality=locality,
            session_key=session_key,
        )
        options = EnvoyOptions(
            listen=listen,
            admin=envoy_admin,
            processors=spread_addresses(serve_options.listen, workers),
            body=body,
            fail_open=fail_open,
            access_log=access_log,
            tracing=bool(otlp),
            downstream_tls=tls,
            authorities=ssl.get_default_verify_paths().cafile or SYSTEM_AUTHORITIES,
        )
        files = DiscoveryFiles(options, directory)
        document = files.start(watcher.snapshot)
        processor = Processor(serve_options)
        try:
            processor.wait_ready(admin)
            with Envoy(document, directory) as envoy:
                envoy.wait_ready()
                _print_greeting(watcher.snapshot, paths, envoy, admin, tls)
                watcher.start()
                _supervise(processor, envoy, files, watcher, signals)
                _drain(envoy, files, drain)
        finally:
            watcher.stop()
            processor.child.terminate(drain)
    return 0


def _require_folder(access_log: str) -> None:
    """Raises ``SetupError`` where ``access_log`` is in a folder that is not there: Envoy makes the file only."""
    if access_log and not (folder := Path(access_log).parent).is_dir():
        raise SetupError(f"cannot write {access_log} (--access-log): there is no folder {folder}; make it")


def _supervise(
    processor: Processor, envoy: Envoy, files: DiscoveryFiles, watcher: PolicyWatcher, signals: SimpleQueue[int]
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
        else:
            files.refresh_secrets()


def _follow(envoy: Envoy, files: DiscoveryFiles, snapshot: Snapshot) -> None:
    try:
        files.follow(envoy, snapshot)
    except (SetupError, OSError) as error:
        _log(f"extproc: the routes stay as they were: {error}")
    else:
        _log("extproc: the policy has changed, and the routes with it")


def _drain(envoy: Envoy, files: DiscoveryFiles, seconds: float) -> None:
    """Drains Envoy for up to ``seconds``; a second signal ends it at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    _log(f"extproc: no new requests; open ones have {seconds:g} s to finish")
    if seconds:
        with suppress(SetupError, OSError):  # it ends all the same
            files.stop_listening(envoy)
    envoy.stop(seconds)


def _print_greeting(
    snapshot: Snapshot, paths: Sequence[Path], envoy: Envoy, admin: str, tls: DownstreamTls | None
) -> None:
    url = f"{'https' if tls else 'http'}://{envoy.listen_address}"
    model = next((m.pattern for m in snapshot.patterns if "*" not in m.pattern), "llama-3-8b")
    request = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    json = "-H 'content-type: application/json'"
    lines = (
        f"extproc: an AI gateway on {url}",
        *(f"  policy   {path} (watched)" for path in paths),
        f"  models   {', '.join(m.pattern for m in snapshot.patterns)}",
        f"  page     http://{admin}/",
        f"  metrics  http://{admin}/metrics",
        f"  envoy    http://{envoy.admin_address}/",
        f"  try      curl {_curl_flags(tls)}{url}/v1/chat/completions {json} -d {shlex.quote(request)}",
    )
    _log("\n".join(lines))


def _curl_flags(tls: DownstreamTls | None) -> str:
    """With which curl takes our certificate for trusted, and shows one of its own where we want one."""
    if tls is None:
        return ""
    own = "--cert client.crt --key client.key " if tls.client_ca_file else ""
    return f"--cacert {shlex.quote(tls.cert_file)} {own}"


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
