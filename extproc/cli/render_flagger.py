"""``extproc render flagger``: MetricTemplates of a rollout's guards as Flagger asks for them."""

from __future__ import annotations

import argparse

from extproc.cli.rendered_guards import add_flags, write
from extproc.command_line.subcommand import Subcommands, command


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    flagger = command(
        commands,
        "flagger",
        run,
        "Flagger: MetricTemplates of a rollout's guards",
        """\
        examples:
          extproc render flagger -f policy.yaml --prometheus http://prometheus.monitoring:9090 | kubectl apply -f -

        A Canary names each under analysis.metrics, with templateVariables: {version: v2} and the guard's bound as
        thresholdRange.
        A policy without a rollout gets the usual guards: errors, time to first token and per token, tokens.
        """,
    )
    add_flags(flagger)


def run(arguments: argparse.Namespace) -> int:
    """Writes the manifests to stdout; returns the exit status. Raises ``PolicyProblems``."""
    from extproc.render import delivery

    return write(arguments, delivery.flagger)
