"""``extproc render dashboard``: a dashboard for Grafana."""

from __future__ import annotations

import argparse
import json
import sys

from extproc.command_line.subcommand import Subcommands, command, policies


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
        """,
    )
    policies(dashboard)


def run(arguments: argparse.Namespace) -> int:
    """Writes the dashboard to stdout; returns the exit status. Raises ``PolicyProblems``."""
    from extproc.policyfile import loader
    from extproc.render.grafana.dashboard import dashboard

    json.dump(dashboard(loader.load(arguments.file).snapshot), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0
