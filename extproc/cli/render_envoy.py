"""``extproc render envoy``: a complete Envoy bootstrap."""

from __future__ import annotations

import argparse
import sys

from extproc.cli.shared_flags import add_envoy_flags, add_locality_flag, add_session_key_flag
from extproc.command_line.argument_types import data_address, envoy_address
from extproc.command_line.subcommand import Subcommands, command, policies


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    envoy = command(
        commands,
        "envoy",
        run,
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
        type=envoy_address,
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="for clients (%(default)s)",
    )
    envoy.add_argument(
        "--envoy-admin",
        type=envoy_address,
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
    add_envoy_flags(envoy)
    add_locality_flag(envoy)
    add_session_key_flag(envoy, "none: there are no tags")
    envoy.add_argument(
        "--tracing",
        action="store_true",
        help="show processors that trace (`serve --otlp`) the trace contexts of requests",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the bootstrap to stdout and notes for the user to stderr; returns the exit status.

    Raises ``PolicyProblems`` and ``SetupError``.
    """
    from extproc.policyfile import loader
    from extproc.policyfile.session_keys import read_session_keys
    from extproc.render.document import to_yaml
    from extproc.render.envoy.bootstrap import bootstrap, notes
    from extproc.render.envoy.envoy_options import EnvoyOptions

    options = EnvoyOptions(
        listen=arguments.listen,
        admin=arguments.envoy_admin,
        processors=tuple(arguments.processor or ["127.0.0.1:50051"]),
        body=arguments.body,
        fail_open=not arguments.fail_closed,
        access_log=arguments.access_log,
        tracing=arguments.tracing,
    )
    keys = read_session_keys(arguments.session_key)
    snapshot = loader.load(arguments.file, locality=arguments.locality, session_keys=keys).snapshot
    sys.stdout.write(to_yaml(bootstrap(snapshot, options)))
    for note in notes(snapshot):
        print(f"extproc: {note}", file=sys.stderr)
    return 0
