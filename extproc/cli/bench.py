"""``extproc bench``: how long requests take through an Envoy or a mesh."""

from __future__ import annotations

import argparse
import json
import sys

from extproc.command_line.argument_types import above_zero, count, path, url
from extproc.command_line.request_flags import add_header_flag, body
from extproc.command_line.subcommand import Subcommands, command
from extproc.errors import not_installed

_CHAT = b'{"model": "llama-3-8b", "messages": [{"role": "user", "content": "Hello"}]}'


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    bench = command(
        commands,
        "bench",
        run,
        "how long requests take through an Envoy or a mesh, and how much of it is routing",
        """\
        examples:
          extproc bench http://127.0.0.1:8080 --body @request.json
          extproc bench http://gateway:8080 --baseline http://model-server:8000 --rate 200 --seconds 30
          extproc bench http://127.0.0.1:8080 -H 'x-user-id: ann' --connections 64 --json

        With --rate requests leave on time whether earlier ones are back or not, and a stall counts for every
        request that it delays. Without, each connection asks again as soon as it has its answer. Times are of answers
        with a status below 400.
        """,
    )
    bench.add_argument("url", type=url, metavar="URL", help="where to send requests")
    bench.add_argument("--baseline", type=url, metavar="URL", help="measured in turns with it, for comparison")
    bench.add_argument("--path", type=path, default="/v1/chat/completions", help="request path (%(default)s)")
    bench.add_argument(
        "--body", type=body, default=_CHAT, metavar="TEXT|@FILE", help="the request's body (a short chat)"
    )
    add_header_flag(bench)
    bench.add_argument(
        "--rate", type=above_zero, default=0.0, metavar="N", help="requests per second (as fast as can be)"
    )
    bench.add_argument("--connections", type=count, default=16, metavar="N", help="without --rate (%(default)s)")
    bench.add_argument("--seconds", type=above_zero, default=10.0, metavar="N", help="for each address (%(default)g)")
    bench.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints. Returns 0 where every request was answered with a status below 400, else 1.

    Raises ``SetupError``.
    """
    try:
        from rich.console import Console

        from extproc.cli.bench_report import report_of, summary
        from extproc.cli.load_generator import Plan, generate
    except ModuleNotFoundError as error:
        raise not_installed(error, "gateway") from None
    plan = Plan(
        (arguments.url, arguments.baseline) if arguments.baseline else (arguments.url,),
        arguments.path,
        arguments.body,
        tuple(arguments.header),
        arguments.rate,
        arguments.connections,
        arguments.seconds,
    )
    measured = generate(plan, Console(stderr=True, quiet=arguments.json))
    report = {url: summary(samples, plan.seconds) for url, samples in measured.items()}
    if arguments.json:
        json.dump(report, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        Console().print(report_of(report))
    return 0 if all(sample.ok for samples in measured.values() for sample in samples) else 1
