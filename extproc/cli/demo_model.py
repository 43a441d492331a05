"""``extproc demo-model``: a toy model server, to try a policy with."""

from __future__ import annotations

import argparse

from extproc.command_line.argument_types import count
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
          extproc demo-model --port 9002 --version v2 --fail-ratio 0.3      a bad one, to try a rollout with
          extproc demo-model --port 9003 --slots 2                          one that is soon busy, to try picking with

        It answers chats (streamed or not), completions and embeddings with text that begins with its version. On
        loopback only.

        Of the requests that come, --slots are served at once; the others wait in the order in which they came. The
        first token comes 0.06 s after a request's turn, and later by what there is to read: 20,000 bytes of prompt
        a second, without the beginning of it that a prompt had which is answered already. The last 256 KiB of
        prompts are known so, by blocks of 64 bytes (16 tokens). /metrics tells, by vLLM's names, how many requests
        run and wait and what share of these 256 KiB the prompts of running ones take:
        `picking: {metrics: {type: vllm}}` in a policy.
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

    model.add_argument(
        "--fail-ratio", type=_ratio, default=0.0, metavar="SHARE", help="of the requests that get 500: 0 to 1"
    )
    model.add_argument(
        "--delay", type=_seconds, default=0.0, metavar="SECONDS", help="by which the first token comes late"
    )
    model.add_argument(
        "--slots", type=count, default=256, metavar="N", help="requests that are served at once (%(default)s)"
    )
    model.add_argument("--empty", action="store_true", help="answers have no words")


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is stopped. Raises ``SetupError``."""
    try:
        from extproc.demo.toy_model import Faults, serve
    except ModuleNotFoundError as error:
        raise not_installed(error, "gateway") from None
    faults = Faults(arguments.fail_ratio, arguments.delay, arguments.empty)
    models = arguments.model or ["llama-3-8b"]
    return serve(arguments.port, arguments.version, models, faults, arguments.slots)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _ratio(text: str) -> float:
    value = _seconds(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 3600")
    return value
