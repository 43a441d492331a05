"""``extproc stat``: golden metrics of running processors, by model, version and GPU pool; or their endpoints' load."""

from __future__ import annotations

import argparse

from extproc.cli.shared_flags import ADMIN, add_sources_flag, add_window_flag
from extproc.command_line.subcommand import Subcommands, command


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    stat = command(
        commands,
        "stat",
        run,
        "golden metrics of running processors, by model, version and GPU pool",
        """\
        examples:
          extproc stat
          extproc stat --watch
          extproc stat --from http://10.0.0.7:9090 --from http://10.0.0.8:9090
          extproc stat --from http://aimesh-extproc-admin.aimesh-system:9090   every replica, merged
          extproc stat --endpoints                     each server that is picked: its load, its share of the picks
          extproc stat --json | jq '.rows[] | {model, version, refused, refusals}'
          extproc stat --window 300 --json | jq '.rows[] | select(.success < 0.999)'

        A processor remembers five minutes, so there is an answer at once. Success is the share of requests that the
        service did not fail: no status 5xx, no error in a stream, no answer cut short. Where nothing was asked there is
        a dash, not 100 %. REFUSED is the share that the processor refused, with 429 or 503, since a circuit breaker or
        a queue had no room, or no server could have it; the column is there where something was refused.
        """,
    )
    add_sources_flag(stat)
    add_window_flag(stat)
    stat.add_argument("--endpoints", action="store_true", help="the servers of policies with `picking` instead")
    stat.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    stat.add_argument("--json", action="store_true", help="as JSON on stdout; with --watch one line for each look")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table; returns the exit status. Raises ``SetupError``."""
    if arguments.endpoints:
        from extproc.cli.endpoint_table import print_endpoints

        return print_endpoints(arguments.sources or [ADMIN], as_json=arguments.json, watch=arguments.watch)
    from extproc.cli.golden_tables import print_targets

    return print_targets(arguments.sources or [ADMIN], arguments.window, as_json=arguments.json, watch=arguments.watch)
