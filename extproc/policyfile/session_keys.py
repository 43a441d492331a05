"""The file with the keys of session tags, which the processors and whoever renders Envoy's configuration share."""

from __future__ import annotations

import hashlib
from pathlib import Path

from extproc.errors import SetupError
from extproc.regular_file import read_regular

MIN_KEY = 32
"""Characters of a line: 128 bits in hexadecimal digits, as ``openssl rand -hex 16`` writes them."""
_MAX_FILE = 4096
_KEY_BYTES = 32


def read_session_keys(path: Path | None) -> tuple[bytes, ...]:
    """The keys, one a line; the first makes tags, and each is known. None without a file. Raises ``SetupError``."""
    if path is None:
        return ()
    try:
        lines = read_regular(path, _MAX_FILE + 1).split()
    except OSError as error:
        raise SetupError(f"the session keys can't be read: {path}: {error.strerror}") from None
    if not lines or len(b"".join(lines)) > _MAX_FILE or min(map(len, lines)) < MIN_KEY:
        remedy = f"`openssl rand -hex 32 > {path}` makes one"
        raise SetupError(f"{path} does not hold session keys, one a line of {MIN_KEY} characters or more; {remedy}")
    return tuple(map(session_key_of, lines))


def session_key_of(line: bytes) -> bytes:
    """The key that a line of the file stands for."""
    return hashlib.blake2b(line, digest_size=_KEY_BYTES).digest()
