"""The command line of ``extproc render``: every kind of manifest, its options and examples."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import get_args

from extproc.cli.argument_types import address, data_address
from extproc.cli.istio_arguments import istio_command
from extproc.cli.subcommand import Command, command, policies
from extproc.render.envoy.envoy_options import Body
from extproc.render.prometheus.rules import SOURCES


def render_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser], run: Mapping[str, Command]) -> None:
    """Adds ``render`` and its kinds."""
    render = commands.add_parser("render", help="manifests on stdout", description="Manifests on stdout.")
    kinds = render.add_subparsers(title="what to render", metavar="KIND", required=True)
    envoy = command(
        kinds,
        "envoy",
        run["render envoy"],
        "a complete Envoy bootstrap",
        """\
        examples:
          extproc render envoy -f policy.yaml > envoy.yaml && envoy -c envoy.yaml
          extproc render envoy -f policy.yaml --processor 10.0.0.7:50051 --processor 10.0.0.8:50051 --body buffered
        """,
    )
    policies(envoy)
    envoy.add_argument(
        "--listen",
        type=address,
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="for clients (%(default)s)",
    )
    envoy.add_argument(
        "--envoy-admin",
        type=address,
        default="127.0.0.1:9901",
        metavar="HOST:PORT",
        help="Envoy's admin port (%(default)s)",
    )
    envoy.add_argument(
        "--processor",
        type=data_address,
        action="append",
        metavar="ADDRESS",
        help="an `extproc serve`: host:port or unix:///path; may be given more than once (default 127.0.0.1:50051)",
    )
    envoy_options(envoy)
    envoy.add_argument(
        "--tracing",
        action="store_true",
        help="show processors that trace (`serve --otlp`) the trace contexts of requests",
    )
    istio_command(kinds, run)
    _metrics(kinds, run)


def _metrics(kinds: argparse._SubParsersAction[argparse.ArgumentParser], run: Mapping[str, Command]) -> None:
    rules = command(
        kinds,
        "rules",
        run["render rules"],
        "a rules file for Prometheus: golden metrics, SLO alerts, canaries, the processor itself",
        """\
        examples:
          extproc render rules -f policy.yaml > /etc/prometheus/aimesh.rules.yaml
          extproc render rules -f policy.yaml --source istio > istio.rules.yaml && promtool check rules istio.rules.yaml

        Whatever the source, what is recorded has the same names: one dashboard shows them all.
        """,
    )
    policies(rules)
    rules.add_argument(
        "--source",
        choices=SOURCES,
        default="extproc",
        help="who counts requests, failures and durations: the processor, or the mesh's proxies (%(default)s)",
    )
    dashboard = command(
        kinds,
        "dashboard",
        run["render dashboard"],
        "a dashboard for Grafana (JSON), on what `render rules` records",
        """\
        examples:
          extproc render dashboard -f policy.yaml > aimesh.json      Grafana: Dashboards, New, Import
        """,
    )
    policies(dashboard)


def envoy_options(parser: argparse.ArgumentParser) -> None:
    """What ``up`` and ``render envoy`` have in common."""
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
