"""``extproc demo-model``: a toy model server, to try a policy with."""

from __future__ import annotations

import argparse

from extproc.command_line.subcommand import Subcommands, command
from extproc.errors import not_installed


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    model = command(
        commands,
        "demo-model",
        run,
        "a toy model server with OpenAI's API, to try a policy with",
        """\
        examples:
          extproc demo-model --port 9001 --version v1
          extproc demo-model --port 9002 --version v2 --model llama-3-8b-instruct

        It answers chats (streamed or not), completions and embeddings with text that begins with its version. On
        loopback only.
        """,
    )
    model.add_argument(
        "--port", type=_port, default=9001, metavar="PORT", help="of 127.0.0.1; 0: a free one (%(default)s)"
    )
    model.add_argument("--version", default="v1", metavar="NAME", help="which it says it is (%(default)s)")
    model.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="what it is called in requests; may be given more than once (llama-3-8b); others get 404",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is stopped. Raises ``SetupError``."""
    try:
        from extproc.demo.toy_model import serve
    except ModuleNotFoundError as error:
        raise not_installed(error, "gateway") from None
    return serve(arguments.port, arguments.version, arguments.model or ["llama-3-8b"])


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)
