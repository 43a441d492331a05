"""The flags that describe one HTTP request: ``--method``, ``--path``, ``-H`` and ``--body``."""

from __future__ import annotations

import argparse

from extproc.command_line.argument_types import body, header


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    """All four, for both ``explain`` commands. The body is bytes, headers are pairs of texts."""
    parser.add_argument("--method", default="POST", help="HTTP method (%(default)s)")
    parser.add_argument("--path", required=True, help="request path, query included")
    add_header_flag(parser)
    parser.add_argument(
        "--body", type=body, default=b"", metavar="TEXT|@FILE", help="the request's body; @- reads stdin"
    )


def add_header_flag(parser: argparse.ArgumentParser) -> None:
    """``-H``, which may be repeated."""
    parser.add_argument(
        "-H",
        "--header",
        type=header,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header of the client's; may be given more than once",
    )
