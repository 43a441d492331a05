"""How to serve: what there is to choose, and how the command line says it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from extproc.cli.argument_types import collector, count, data_address, seconds
from extproc.errors import SetupError


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """See ``extproc serve --help``."""

    policies: tuple[Path, ...]
    """Policy files and directories of them."""
    listen: tuple[str, ...] = ("127.0.0.1:50051",)
    """``host:port`` or ``unix:///path``."""
    admin: str = "127.0.0.1:9090"
    """``host:port``, or ``unix:///path`` as workers have it."""
    drain: float = 5.0
    """Seconds between failing health and refusing new streams: long enough for every Envoy to have seen it."""
    grace: float = 30.0
    """Seconds that open streams then have to finish."""
    workers: int = 1
    max_streams: int = 10_000
    keepalive: float = 60.0
    engine: Literal["http2", "aio"] = "http2"
    otlp: str = ""
    """URL of an OpenTelemetry collector; empty: none."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None

    def worker(self, number: int, admin: str) -> Options:
        """What the worker with this number (from 0) is told."""
        listen = tuple(nth(one, number) for one in self.listen)
        return msgspec.structs.replace(self, listen=listen, admin=admin, workers=1)

    def arguments(self) -> list[str]:
        """The command line that says the same."""
        words = ["serve"]
        for path in self.policies:
            words += ["-f", str(path)]
        for one in self.listen:
            words += ["--listen", one]
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("policies", "listen") and value not in (None, ""):
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return words


def nth(listen: str, number: int) -> str:
    """The address of the worker with this number (from 0), where ``listen`` is what they share."""
    if listen.startswith("unix:"):
        return f"{listen}-{number + 1}"
    host, _, port = listen.rpartition(":")
    return f"{host}:{int(port) + number if int(port) else 0}"


def spread(listen: tuple[str, ...], workers: int) -> tuple[str, ...]:
    """Every address of so many workers. Raises ``SetupError`` where there are not as many."""
    if workers == 1:
        return listen
    found = tuple(nth(one, number) for number in range(workers) for one in listen)
    for one in found:
        if found.count(one) > 1 and not one.endswith(":0"):
            raise SetupError(f"two of {workers} workers would listen on {one}; set the --listen further apart")
        if not one.startswith("unix:") and int(one.rpartition(":")[2]) > 65535:
            raise SetupError(f"{workers} workers need as many ports from --listen on, and there is no {one}")
    return found


def chosen(arguments: argparse.Namespace) -> Options:
    """What ``serve_options`` has found."""
    found: dict[str, Any] = {"policies": tuple(arguments.file)}
    if arguments.listen:
        found["listen"] = tuple(arguments.listen)
    names = {field.name for field in msgspec.structs.fields(Options)} - {"policies", "listen"}
    return Options(**found, **{name: getattr(arguments, name) for name in names})


def serve_options(serve: argparse.ArgumentParser) -> None:
    """Every flag of ``serve`` but the policies'."""
    serve.add_argument(
        "--listen",
        type=data_address,
        action="append",
        metavar="ADDRESS",
        help="host:port or unix:///path for Envoy; may be given more than once (default 127.0.0.1:50051)",
    )
    serve.add_argument(
        "--admin",
        type=data_address,
        default="127.0.0.1:9090",
        metavar="ADDRESS",
        help="for people and Prometheus: host:port or unix:///path (%(default)s)",
    )
    serve.add_argument(
        "--drain",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="between failing health and refusing streams (%(default)g)",
    )
    serve.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="for open streams to finish after that (%(default)g)",
    )
    workers_option(serve)
    serve.add_argument(
        "--max-streams",
        type=count,
        default=10_000,
        metavar="N",
        help="of one worker that wait for a body or watch an answer; the oldest that waits makes room (%(default)s)",
    )
    serve.add_argument(
        "--keepalive",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="of silence before a client is asked for a sign of life (%(default)g)",
    )
    otlp_option(serve)
    tls = serve.add_argument_group("TLS", "PEM files; changed ones are taken for new connections, without a restart.")
    tls.add_argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate, with its chain")
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, not encrypted")
    tls.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE", help="clients must have a certificate of this authority's"
    )
    serve.add_argument(
        "--engine",
        choices=("http2", "aio"),
        default="http2",
        help="http2: ours, fast; aio: grpcio's own server, several times slower (%(default)s)",
    )


def otlp_option(parser: argparse.ArgumentParser) -> None:
    """``--otlp``."""
    parser.add_argument(
        "--otlp",
        type=collector,
        default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        metavar="URL",
        help="send spans and metrics to this OpenTelemetry collector: http://host:4317 "
        "(OTEL_EXPORTER_OTLP_ENDPOINT, else to none)",
    )


def workers_option(parser: argparse.ArgumentParser) -> None:
    """``--workers``."""
    parser.add_argument(
        "--workers",
        type=count,
        default=1,
        metavar="N",
        help="processes that decide, each with an address of its own: the next port, or the path with -1, -2 … "
        "(%(default)s)",
    )
