"""``extproc render rules``: a rules file for Prometheus."""

from __future__ import annotations

import argparse
import sys

from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.render.source_names import SOURCES


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    rules = command(
        commands,
        "rules",
        run,
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


def run(arguments: argparse.Namespace) -> int:
    """Writes the rules to stdout; returns the exit status. Raises ``PolicyProblems``."""
    from extproc.policyfile import loader
    from extproc.render.document import to_yaml
    from extproc.render.prometheus.rule_groups import rule_groups

    groups = rule_groups(loader.load(arguments.file).snapshot, arguments.source)
    sys.stdout.write(to_yaml({"groups": groups}))
    return 0
