"""The engine tells how long it has had work without a pause."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from extproc.grpc_server import ENGINES, Name, Sender
from tests.grpc.running import running
from tests.waiting import until

SLOW = "/test/Slow"
EACH = 0.03
"""Seconds of work for a message."""
STREAMS, MESSAGES = 4, 4


class Dawdler:
    """Says how long the engine has been behind as each message comes, and takes its time."""

    done = False

    def __init__(self, send: Sender) -> None:
        self._loop_lag = send.loop_lag

    def receive(self, message: bytes) -> Sequence[bytes]:  # noqa: ARG002 - as ``Handler`` has it
        behind = self._loop_lag.seconds(time.perf_counter())
        time.sleep(EACH)
        return [b"%f" % behind]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("engine", ENGINES)
def test_how_long_it_is_behind(engine: Name) -> None:
    with running({SLOW: Dawdler}, engine=engine) as server:

        def one() -> float:
            return float(next(iter(server.open(SLOW)(iter([b""])))))

        until(lambda: one() < EACH, pause=4 * EACH)  # an engine that has just started may have had its hands full
        calls: list[Any] = [server.open(SLOW)(iter([b""] * MESSAGES)) for _ in range(STREAMS)]
        behind = [float(reply) for call in calls for reply in call]
        assert len(behind) == STREAMS * MESSAGES
        assert max(behind) > EACH * STREAMS * MESSAGES / 3
        until(lambda: one() < EACH, pause=4 * EACH)  # asking is work, too: it must find pauses
