"""``extproc render dashboard``: a dashboard for Grafana."""

from __future__ import annotations

import argparse
import json
import sys

from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.render.source_names import PROXIES


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    dashboard = command(
        commands,
        "dashboard",
        run,
        "a dashboard for Grafana (JSON), on what `render rules` records",
        """\
        examples:
          extproc render dashboard -f policy.yaml > aimesh.json      Grafana: Dashboards, New, Import
          extproc render dashboard -f policy.yaml --stage preprocess --stage feature-store --proxies linkerd
        """,
    )
    policies(dashboard)
    dashboard.add_argument(
        "--stage",
        action="append",
        default=[],
        metavar="SERVICE",
        help="a row for a service of the pipeline around the models: its workload (Istio), deployment (Linkerd) or "
        "stat_prefix (Envoy); may be given more than once",
    )
    dashboard.add_argument(
        "--proxies",
        choices=PROXIES,
        default="istio",
        help="whose series tell of these services (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the dashboard to stdout; returns the exit status. Raises ``PolicyProblems``."""
    from extproc.policyfile import loader
    from extproc.render.grafana.dashboard import dashboard

    made = dashboard(loader.load(arguments.file).snapshot, arguments.stage, arguments.proxies)
    json.dump(made, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0
