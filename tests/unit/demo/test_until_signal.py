"""How a demo ends: by itself, kept until a signal, or by one before there is a result."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from rich.console import Console

from extproc.demo.until_signal import Shown, run_until_signal


def run(*, ok: bool = True, keep: bool = False, early: bool = False, afterwards: str = "") -> tuple[int, list[str]]:
    """The status, and what was done in which order."""
    done: list[str] = []

    def kept() -> str:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        return "kept"

    @asynccontextmanager
    async def demo() -> AsyncIterator[Shown]:
        try:
            if early:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.Event().wait()
            yield Shown(ok, lambda: done.append("shown"), kept)
        finally:
            done.append("ended")

    console = Console(stderr=True)
    return asyncio.run(run_until_signal(demo(), console, keep=keep, afterwards=afterwards)), done


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_it_ends_by_itself(ok: bool, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ok=ok, afterwards="now try") == (status, ["shown", "ended"])
    assert capsys.readouterr().err == "now try\n"


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_kept_it_ends_at_a_signal(ok: bool, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ok=ok, keep=True, afterwards="now try") == (status, ["shown", "ended"])
    assert capsys.readouterr().err.splitlines() == ["kept", "Stopped; nothing is left running."]


def test_a_signal_before_the_result() -> None:
    assert run(early=True) == (128 + signal.SIGTERM, ["ended"])
