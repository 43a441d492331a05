"""Flags that several commands of ``extproc`` share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import get_args

from extproc.command_line.argument_types import collector, count, locality, seconds
from extproc.render.envoy.envoy_options import Body

ADMIN = "http://127.0.0.1:9090"
"""URL of a local processor's admin port, with the default port."""
MAX_WINDOW_SECONDS = 300
"""Time for which a processor keeps requests: ``telemetry.recent_traffic_by_caller.LONGEST``, without its imports."""


def add_envoy_flags(parser: argparse.ArgumentParser) -> None:
    """``--body``, ``--fail-closed`` and ``--access-log``, which ``up`` and ``render envoy`` share."""
    parser.add_argument(
        "--body",
        choices=get_args(Body),
        default="buffered",
        help="how Envoy shows bodies: whole; as they come (one round trip less, no retries); or not at all where Envoy "
        "itself can read the model (small JSON bodies; it does not see a second model) (%(default)s)",
    )
    parser.add_argument(
        "--fail-closed",
        action="store_true",
        help="answer 503 when no processor does; else requests pass on unrouted",
    )
    parser.add_argument(
        "--access-log",
        default="/dev/stdout",
        metavar="FILE",
        help="a line of JSON for each request; '' for none (%(default)s)",
    )


def add_locality_flag(parser: argparse.ArgumentParser) -> None:
    """``--locality``."""
    parser.add_argument(
        "--locality",
        type=locality,
        default="",
        metavar="REGION/ZONE",
        help="where the proxies are: of the GPU pools that can serve a request, the nearest one does (none: all share)",
    )


def add_session_key_flag(parser: argparse.ArgumentParser, without: str) -> None:
    """``--session-key``; ``without``: what happens without it."""
    parser.add_argument(
        "--session-key",
        type=Path,
        metavar="FILE",
        help="keys, one a line, of the tags that lead MCP sessions and Realtime calls to their server: the first makes "
        f"them, each is known. The same file for `serve` and `render envoy` ({without})",
    )


def add_otlp_flag(parser: argparse.ArgumentParser) -> None:
    """``--otlp``."""
    parser.add_argument(
        "--otlp",
        type=collector,
        default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        metavar="URL",
        help="send spans and metrics to this OpenTelemetry collector: http://host:4317 "
        "(OTEL_EXPORTER_OTLP_ENDPOINT, else to none)",
    )


def add_tls_flags(parser: argparse.ArgumentParser) -> None:
    """``--tls-cert``, ``--tls-key`` and ``--tls-client-ca``."""
    tls = parser.add_argument_group("TLS", "PEM files; changed ones are taken for new connections, without a restart.")
    tls.add_argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate, with its chain")
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, not encrypted")
    tls.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE", help="clients must have a certificate of this authority's"
    )


def add_workers_flag(parser: argparse.ArgumentParser) -> None:
    """``--workers``."""
    parser.add_argument(
        "--workers",
        type=count,
        default=1,
        metavar="N",
        help="processes that decide, each with an address of its own: the next port, or the path with -1, -2 … "
        "(%(default)s)",
    )


def add_sources_flag(parser: argparse.ArgumentParser) -> None:
    """``--from``."""
    parser.add_argument(
        "--from",
        dest="sources",
        action="append",
        metavar="URL",
        help="a processor's admin port: http://host:port, host:port or unix:///path; may be given more than once, and "
        f"a name with several addresses is as many processors (default {ADMIN})",
    )


def add_window_flag(parser: argparse.ArgumentParser) -> None:
    """``--window``."""
    parser.add_argument(
        "--window",
        type=_window_seconds,
        default=60.0,
        metavar="SECONDS",
        help=f"up to {MAX_WINDOW_SECONDS} (%(default)g)",
    )


def _window_seconds(text: str) -> float:
    window = seconds(text)
    if not 1 <= window <= MAX_WINDOW_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {MAX_WINDOW_SECONDS} seconds")
    return window
