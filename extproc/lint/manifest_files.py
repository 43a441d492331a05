"""Manifests from files, directories and stdin: their texts, within limits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from extproc.errors import Problem
from extproc.policyfile import loader

STDIN = Path("-")
_STDIN_NAME = "<stdin>"


def read(paths: Sequence[Path]) -> tuple[list[tuple[str, str]], list[Problem]]:
    """Pairs of (name, text) for the files at ``paths``, of directories their ``*.yaml`` and ``*.yml``, of ``-`` stdin.

    Also what can't be read: files that are not there, anything above ``loader.MAX_SIZE`` bytes, and a stdin to which
    nothing was written, as a command that failed leaves it.
    """
    files = loader.read([path for path in paths if path != STDIN])
    texts, problems = list(files.texts), list(files.problems)
    if STDIN in paths:
        content = sys.stdin.buffer.read(loader.MAX_SIZE + 1)
        if len(content) > loader.MAX_SIZE:
            message, remedy = f"more than {loader.MAX_SIZE >> 20} MiB", "ask for one namespace at a time"
            problems.append(Problem(_STDIN_NAME, 0, 0, "", message, remedy))
        elif not content.strip():
            problems.append(Problem(_STDIN_NAME, 0, 0, "", "nothing came", "see what the command before it says"))
        else:
            texts.append((_STDIN_NAME, content.decode(errors="replace")))
    return texts, problems
