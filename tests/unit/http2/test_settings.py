"""The settings that we announce, and which values of a client's are read or refused."""

from __future__ import annotations

from struct import pack

import pytest

from extproc.http2 import frames as f
from extproc.http2.settings import SERVER_SETTINGS, SETTINGS_ACK, read_settings
from tests.http2.wire import frames


def payload(*values: tuple[int, int]) -> bytes:
    return b"".join(pack(">HI", *value) for value in values)


def test_what_we_announce() -> None:
    settings, acknowledgement = frames(SERVER_SETTINGS + SETTINGS_ACK)
    assert settings.settings == {3: 4_096, 4: 1 << 20, 6: 1 << 16}  # type: ignore[attr-defined]
    assert set(settings.flags) == set()
    assert set(acknowledgement.flags) == {"ACK"}
    assert acknowledgement.settings == {}  # type: ignore[attr-defined]


def test_the_last_value_counts_and_unknown_settings_are_read() -> None:
    assert read_settings(b"") == {}
    assert read_settings(payload((4, 1), (0xABCD, 7), (4, 2), (1, 0))) == {4: 2, 0xABCD: 7, 1: 0}


@pytest.mark.parametrize(
    ("identifier", "value", "code"),
    [
        (f.ENABLE_PUSH, 2, f.PROTOCOL_ERROR),
        (f.ENABLE_PUSH, 1 << 31, f.PROTOCOL_ERROR),
        (f.INITIAL_WINDOW_SIZE, 1 << 31, f.FLOW_CONTROL_ERROR),
        (f.SETTINGS_MAX_FRAME_SIZE, (1 << 14) - 1, f.PROTOCOL_ERROR),
        (f.SETTINGS_MAX_FRAME_SIZE, 1 << 24, f.PROTOCOL_ERROR),
        (f.SETTINGS_MAX_FRAME_SIZE, (1 << 32) - 1, f.PROTOCOL_ERROR),
    ],
)
def test_values_out_of_range(identifier: int, value: int, code: int) -> None:
    with pytest.raises(f.Http2ConnectionError) as caught:
        read_settings(payload((3, 1), (identifier, value), (identifier, 1 << 14)))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("identifier", "value"),
    [
        (f.ENABLE_PUSH, 0),
        (f.ENABLE_PUSH, 1),
        (f.INITIAL_WINDOW_SIZE, 0),
        (f.INITIAL_WINDOW_SIZE, (1 << 31) - 1),
        (f.SETTINGS_MAX_FRAME_SIZE, 1 << 14),
        (f.SETTINGS_MAX_FRAME_SIZE, (1 << 24) - 1),
        (f.MAX_CONCURRENT_STREAMS, (1 << 32) - 1),
        (f.HEADER_TABLE_SIZE, (1 << 32) - 1),
    ],
)
def test_values_at_the_ends_of_their_ranges(identifier: int, value: int) -> None:
    assert read_settings(payload((identifier, value))) == {identifier: value}
