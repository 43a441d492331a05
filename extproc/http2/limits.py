"""Limits of a client: streams that it may have open, and what a header block may hold."""

from __future__ import annotations

from typing import Final

MAX_STREAMS: Final = 4_096
"""Open on a connection at most. A client that needs more opens another connection, as Envoy does."""
MAX_ENDED: Final = 100
"""Streams remembered as ended by the client, so that a further frame on them is an error. On any other closed stream
frames may still be under way, however late: they are ignored.
"""
MAX_BLOCK: Final = 1 << 16
"""Bytes of a header block, encoded, and of its fields (SETTINGS_MAX_HEADER_LIST_SIZE)."""
MAX_TABLE_CHANGES: Final = 2
"""Changes of the table's size when a block begins (RFC 7541 §4.2): the smallest since the last block, and the final."""
MAX_LITERALS: Final = 128
"""Of a block: each costs some microseconds. An Envoy's streams have ten, and requests to Envoy 100 headers at most."""
