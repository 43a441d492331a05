"""``extproc tap``: live requests of running processors, as they end."""

from __future__ import annotations

import argparse

from extproc.cli.shared_flags import ADMIN, add_sources_flag
from extproc.command_line.argument_types import seconds, status_code
from extproc.command_line.subcommand import Subcommands, command


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    tap = command(
        commands,
        "tap",
        run,
        "live requests of running processors, as they end",
        """\
        examples:
          extproc tap
          extproc tap --model 'llama-*' --version v2
          extproc tap --code 5xx --json | jq -r '.asked'
          extproc tap --min-ms 2000 --from http://aimesh-extproc-admin.aimesh-system:9090

        One line for each request, from every replica. Patterns may have *, ? and [a-z]. Who reads too slowly is told
        how many requests were left out: the processor never waits.
        """,
    )
    add_sources_flag(tap)
    tap.add_argument("--model", default="", metavar="PATTERN", help="as the policy or the client calls it")
    tap.add_argument("--version", default="", metavar="PATTERN")
    tap.add_argument("--pool", default="", metavar="PATTERN", help="of GPUs")
    tap.add_argument("--code", type=status_code, metavar="STATUS", help="an HTTP status, or a class of them: 5xx")
    tap.add_argument("--caller", default="", metavar="PATTERN", help="the identity of who asks; unknown: who has none")
    tap.add_argument("--min-ms", type=seconds, default=0.0, metavar="N", help="only those that took at least so long")
    tap.add_argument("--json", action="store_true", help="a line of JSON for each request")


def run(arguments: argparse.Namespace) -> int:
    """Prints requests until it is stopped; returns the exit status. Raises ``SetupError``."""
    from extproc.cli.tap_output import print_requests
    from extproc.telemetry.tap import TapFilter

    given = {name: getattr(arguments, name) for name in TapFilter.__struct_fields__}
    wanted = TapFilter(**{name: value for name, value in given.items() if value is not None})
    return print_requests(arguments.sources or [ADMIN], wanted, as_json=arguments.json)
