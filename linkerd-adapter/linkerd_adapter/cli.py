"""The command ``linkerd-adapter``: arguments in, exit status out.

Exit statuses as of ``extproc``: 0 all is well, 1 something is wrong with what was looked at, 2 a command or policy file
that can't be used. What machines read goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from extproc.cli.subcommand import Command
from extproc.errors import PolicyProblems, SetupError
from extproc.policyfile import loader
from linkerd_adapter.arguments import parser
from linkerd_adapter.names import Service


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = parser(COMMANDS).parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except PolicyProblems as problems:
        print("\n".join(map(str, problems.problems)), file=sys.stderr)
        return 2
    except SetupError as error:
        for line in str(error).splitlines():
            print(f"linkerd-adapter: {line}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


def _render(arguments: argparse.Namespace) -> int:
    from extproc.render.document import to_yaml
    from linkerd_adapter import manifests
    from linkerd_adapter.gateway import Options

    files = loader.read(arguments.file)
    snapshot = loader.build(files).snapshot
    given = {name: getattr(arguments, name) for name in _OPTIONS if getattr(arguments, name) is not None}
    own = Service(arguments.namespace or manifests.namespace(snapshot), arguments.name)
    rendered = manifests.render(snapshot, dict(files.texts), Options(gateway=own, **given))
    sys.stdout.write("---\n".join(map(to_yaml, rendered.manifests)))
    for note in rendered.notes:
        print(f"linkerd-adapter: note: {note}", file=sys.stderr)
    return 0


_OPTIONS = ("image", "envoy_image", "replicas", "target_port", "app_protocol", "audit")


def _explain(arguments: argparse.Namespace) -> int:
    from linkerd_adapter import kubectl_output, manifests
    from linkerd_adapter.explain import Asked, explain

    snapshot = loader.load(arguments.file).snapshot
    own = Service(arguments.namespace or manifests.namespace(snapshot), arguments.name)
    asked = Asked(arguments.method, arguments.path, tuple(arguments.header), arguments.body)
    found = explain(snapshot, own, asked, kubectl_output.read(arguments.from_live) if arguments.from_live else None)
    json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0


def _lint(arguments: argparse.Namespace) -> int:
    from linkerd_adapter.lint.command import run

    return run(arguments.file, arguments.json)


COMMANDS: dict[str, Command] = {
    "render": _render,
    "explain": _explain,
    "lint": _lint,
}
