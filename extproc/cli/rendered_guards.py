"""What the commands share that render a rollout's guards for other tools: ``render argo`` and ``render flagger``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from extproc.command_line.subcommand import policies

if TYPE_CHECKING:
    from extproc.policy.snapshot import Snapshot
    from extproc.render.document import Doc


def add_flags(parser: argparse.ArgumentParser) -> None:
    """``-f`` and ``--prometheus``."""
    policies(parser)
    parser.add_argument("--prometheus", metavar="URL", default="", help="base URL; none: that of the rollout")


def write(arguments: argparse.Namespace, render: Callable[[Snapshot, str], Iterable[Doc]]) -> int:
    """Writes the manifests to stdout; returns the exit status. Raises ``PolicyProblems``."""
    from extproc.policyfile import loader
    from extproc.render.document import to_yaml

    manifests = render(loader.load(arguments.file).snapshot, arguments.prometheus)
    sys.stdout.write("---\n".join(map(to_yaml, manifests)))
    return 0
