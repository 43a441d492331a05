"""Bytes with a few mistakes in them."""

from __future__ import annotations

from hypothesis import strategies as st


def broken(draw: st.DataObject, data: bytes) -> bytes:
    """With one to three places where up to two bytes have given way to up to two others."""
    found = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(found)))
        found[at : at + draw.draw(st.integers(0, 2))] = draw.draw(st.binary(max_size=2))
    return bytes(found)
