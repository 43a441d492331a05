"""How a demo starts and ends: it shows its result, runs on where it is kept, and ends at a signal without a trace."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console


class Shown(NamedTuple):
    """The result of a demo, while all of it still runs."""

    ok: bool
    show: Callable[[], None]
    """Prints it."""
    kept: Callable[[], str]
    """Says where what runs on can be looked at."""


async def run_until_signal(
    demo: AbstractAsyncContextManager[Shown], console: Console, *, keep: bool, afterwards: str = ""
) -> int:
    """Shows the result of ``demo``, and with ``keep`` waits for a signal. ``afterwards``: said once all has ended well.

    Returns 0 only if the result is good, and 128 plus the signal's number after a signal that came before the result.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received: list[int] = []

    def stop(number: int) -> None:
        # Only the first counts: cleaning up takes a bounded time, and interrupted it would leave processes behind.
        if not received and task is not None:
            received.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    shown: Shown | None = None
    try:
        async with demo as shown:
            shown.show()
            if keep:
                say(console, shown.kept())
                await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not received:
            raise
        say(console, "Stopped; nothing is left running.")
        if not keep or shown is None:
            return 128 + received[0]
    if afterwards and not keep:
        say(console, afterwards)
    return 0 if shown.ok else 1


def say(console: Console, text: str) -> None:
    """Prints ``text`` as it is."""
    console.print(text, soft_wrap=True, markup=False)


def program() -> str:
    """What runs this program from the current folder."""
    here = os.path.relpath(sys.argv[0])
    return "extproc" if shutil.which("extproc") == str(Path(sys.argv[0]).absolute()) else here
