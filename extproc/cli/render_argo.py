"""``extproc render argo``: an AnalysisTemplate of a rollout's guards as Argo Rollouts asks for them."""

from __future__ import annotations

import argparse

from extproc.cli.rendered_guards import add_flags, write
from extproc.command_line.subcommand import Subcommands, command


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    argo = command(
        commands,
        "argo",
        run,
        "Argo Rollouts: an AnalysisTemplate of a rollout's guards",
        """\
        examples:
          extproc render argo -f policy.yaml --prometheus http://prometheus.monitoring:9090 | kubectl apply -f -

        A Rollout names it under analysis.templates, with args: [{name: version, value: v2}].
        A policy without a rollout gets the usual guards: errors, time to first token and per token, tokens.
        """,
    )
    add_flags(argo)


def run(arguments: argparse.Namespace) -> int:
    """Writes the manifests to stdout; returns the exit status. Raises ``PolicyProblems``."""
    from extproc.render import delivery

    return write(arguments, delivery.argo)
