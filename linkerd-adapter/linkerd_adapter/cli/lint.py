"""``linkerd-adapter lint``: files in, findings printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from extproc.command_line.subcommand import Subcommands, command
from extproc.lint import manifest_files, report
from linkerd_adapter.lint.linter import lint
from linkerd_adapter.lint.objects import Given


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    parser = command(
        commands,
        "lint",
        run,
        "what Linkerd would not do with routes, Services and profiles as they are meant",
        """\
        examples:
          linkerd-adapter lint routes.yaml services.yaml
          linkerd-adapter lint manifests/ --json | jq '.findings[].code'
          routes=httproutes.gateway.networking.k8s.io,httproutes.policy.linkerd.io,grpcroutes
          kubectl get $routes,services,serviceprofiles,endpointslices -A -o yaml | linkerd-adapter lint -

        What is given together is judged together. Exits with 1 when there is an error; warnings alone exit with 0.
        docs/linkerd-lint.md has every code.
        """,
    )
    parser.add_argument(
        "file", type=Path, nargs="+", metavar="FILE", help="a manifest, a directory of them, or - for stdin"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Prints what is wrong; the exit status."""
    return lint_files(arguments.file, arguments.json)


def lint_files(paths: Sequence[Path], as_json: bool) -> int:
    """Prints every finding to stdout. The exit status: 1 where there is an error, warnings are none."""
    found, given = lint(*manifest_files.read(paths))
    seen = _seen(given)
    if as_json:
        sys.stdout.write(report.json_document(found, seen=seen))
    else:
        sys.stdout.write(report.text(found, ", ".join(f"{what}: {number}" for what, number in seen.items())))
    return 1 if report.failed(found) else 0


def _seen(given: Given) -> dict[str, int]:
    """How many of each there were; a route of a Gateway is no route of a Service."""
    return {
        "routes of Services": len(given.routes),
        "other routes": len(given.all_routes) - len(given.routes),
        "Services": len(given.services),
        "other objects": len(given.resources) - len(given.all_routes) - len(given.services),
    }
