"""The command lines of ``extproc stat``, ``tap`` and ``edges``: their options and examples."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from extproc.cli.argument_types import count, seconds
from extproc.cli.subcommand import Command, command

ADMIN = "http://127.0.0.1:9090"
"""Where a processor on this machine has its admin port."""
LONGEST = 300
"""Seconds that a processor remembers (``recent.LONGEST``, without all that it imports)."""
CALLERS = 20
"""Those shown by name where it is not said."""


def live_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser], run: Mapping[str, Command]) -> None:
    """Adds the three."""
    stat = command(
        commands,
        "stat",
        run["stat"],
        "golden metrics of running processors, by model, version and GPU pool",
        """\
        examples:
          extproc stat
          extproc stat --watch
          extproc stat --from http://10.0.0.7:9090 --from http://10.0.0.8:9090
          extproc stat --from http://extproc-admin.aimesh:9090      a headless Service: every replica, merged
          extproc stat --window 300 --json | jq '.rows[] | select(.success < 0.999)'

        A processor remembers five minutes, so there is an answer at once. Success is the share of requests that the
        service did not fail: no status 5xx, no error in a stream, no answer cut short. Where nothing was asked there is
        a dash, not 100 %.
        """,
    )
    _from(stat)
    _window(stat)
    stat.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    stat.add_argument("--json", action="store_true", help="as JSON on stdout; with --watch one line for each look")

    tap = command(
        commands,
        "tap",
        run["tap"],
        "live requests of running processors, as they end",
        """\
        examples:
          extproc tap
          extproc tap --model 'llama-*' --version v2
          extproc tap --code 5xx --json | jq -r '.asked'
          extproc tap --min-ms 2000 --from http://extproc-admin.aimesh:9090

        One line for each request, from every replica. Patterns may have *, ? and [a-z]. Who reads too slowly is told
        how many requests were left out: the processor never waits.
        """,
    )
    _from(tap)
    tap.add_argument("--model", default="", metavar="PATTERN", help="as the policy or the client calls it")
    tap.add_argument("--version", default="", metavar="PATTERN")
    tap.add_argument("--pool", default="", metavar="PATTERN", help="of GPUs")
    tap.add_argument("--code", default="", metavar="STATUS", help="an HTTP status, or a class of them: 5xx")
    tap.add_argument("--caller", default="", metavar="PATTERN", help="the identity of who asks")
    tap.add_argument("--min-ms", type=seconds, default=0.0, metavar="N", help="only those that took at least so long")
    tap.add_argument("--json", action="store_true", help="a line of JSON for each request")

    edges = command(
        commands,
        "edges",
        run["edges"],
        "who calls which model, and which GPU pool serves it",
        """\
        examples:
          extproc edges
          extproc edges --from http://extproc-admin.aimesh:9090 --callers 50
          extproc edges --json | jq -r '.rows[].caller' | sort -u

        A caller is whom the mesh has authenticated: the SPIFFE ID of the client's certificate (Istio, or any Envoy with
        mutual TLS), or the client that Linkerd's proxy names. Nothing that a client says of itself counts; where the
        mesh names nobody it is `unknown`.
        """,
    )
    _from(edges)
    _window(edges)
    edges.add_argument(
        "--callers", type=count, default=CALLERS, metavar="N", help="by name; the rest is `other` (%(default)s)"
    )
    edges.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    edges.add_argument("--json", action="store_true", help="as JSON on stdout; with --watch one line for each look")


def _from(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="sources",
        action="append",
        metavar="URL",
        help="a processor's admin port: http://host:port, host:port or unix:///path; may be given more than once, and "
        f"a name with several addresses is as many processors (default {ADMIN})",
    )


def _window(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--window", type=_stretch, default=60.0, metavar="SECONDS", help=f"up to {LONGEST} (%(default)g)"
    )


def _stretch(text: str) -> float:
    found = seconds(text)
    if not 1 <= found <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {LONGEST} seconds")
    return found
