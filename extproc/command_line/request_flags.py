"""The flags that describe one HTTP request: ``--method``, ``--path``, ``-H`` and ``--body``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from extproc.command_line.argument_types import path


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    """All four, for both ``explain`` commands. The body is bytes, headers are pairs of texts."""
    parser.add_argument("--method", default="POST", help="HTTP method (%(default)s)")
    parser.add_argument("--path", type=path, required=True, help="request path, query included")
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


def header(text: str) -> tuple[str, str]:
    """Name and value of ``name: value``."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no header; write it as 'name: value'")
    return name.strip(), value.strip()


def body(text: str) -> bytes:
    """A request's body: the text itself, ``@FILE`` for a file's content, ``@-`` for stdin's."""
    if not text.startswith("@"):
        return text.encode()
    try:
        return sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read the body from {text[1:]}: {error.strerror}") from None
