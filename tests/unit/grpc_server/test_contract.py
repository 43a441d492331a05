"""What both engines share: the lag of a loop, settings, and what a user is told."""

from __future__ import annotations

from time import perf_counter

import msgspec
import pytest

from extproc.grpc_server.contract import LoopLag, Settings


def test_lag_is_the_time_since_the_loop_was_idle() -> None:
    before = perf_counter()
    lag = LoopLag()
    assert before <= lag.last_idle <= perf_counter()
    lag.last_idle = 5.0
    assert lag.seconds(5.0) == 0.0
    assert lag.seconds(7.5) == 2.5


def test_settings_do_not_change() -> None:
    settings = Settings(keepalive=1.0)
    assert (settings.tls, settings.keepalive_timeout) == (None, 20.0)
    with pytest.raises(AttributeError):
        settings.keepalive = 2.0  # type: ignore[misc]
    assert msgspec.structs.replace(settings, keepalive=2.0).keepalive == 2.0
