"""What commands print of running processors: once, or again and again (``--watch``); for people, or as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live

_WATCH_INTERVAL = 2.0
"""Seconds between two looks with ``--watch``."""
_WIDTH = 120
"""Columns where the output is no terminal."""


class Look(NamedTuple):
    """What one look at processors has found."""

    problems: tuple[str, ...]
    """For each processor that did not answer, why."""
    document: Mapping[str, Any]
    shown: RenderableType


def print_looks(look_again: Callable[[], Look], *, as_json: bool, watch: bool) -> int:
    """Prints one look, or one after the other until Ctrl-C; returns the exit status."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    reported: tuple[str, ...] = ()
    with Live(console=console, auto_refresh=False) if watch and console.is_terminal else nullcontext() as live:
        while True:
            look = look_again()
            for problem in look.problems:
                if problem not in reported:
                    print(f"extproc: {problem}", file=sys.stderr)
            reported = look.problems
            if as_json:
                sys.stdout.write(msgspec.json.encode(look.document).decode() + "\n")
                sys.stdout.flush()
            elif isinstance(live, Live):
                live.update(look.shown, refresh=True)
            else:
                console.print(look.shown)
            if not watch:
                return 0
            time.sleep(_WATCH_INTERVAL)
