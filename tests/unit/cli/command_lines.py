"""Command lines of ``extproc`` for tests: what they parse to, what is said about bad ones, what help shows."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from extproc.cli.main import main, parser


def flags(*words: str) -> dict[str, Any]:
    """What a command line parses to, without the function that runs it."""
    found = vars(parser().parse_args(words))
    return {name: value for name, value in found.items() if name not in ("run", "misused")}


def arguments(*words: str) -> argparse.Namespace:
    return parser().parse_args(words)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command line that can't be used says on stderr."""
    with pytest.raises(SystemExit) as left:
        main(words)
    printed = capsys.readouterr()
    assert (left.value.code, printed.out) == (2, "")
    return printed.err.splitlines()[-1]


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    printed = capsys.readouterr()
    assert (left.value.code, printed.err) == (0, "")
    return printed.out
