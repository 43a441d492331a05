"""Gives a running Envoy what is in the policy's files (certificates, keys), and again when they change.

The files are compared by content, so that a file that is written anew, a rename and the swap of a Kubernetes Secret all
work; Envoy's own watches see renames only. What is given are copies, in a directory that nobody else can read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path

from extproc.errors import SetupError
from extproc.regular_file import read_regular
from extproc.render.document import Doc
from extproc.render.envoy.secrets import Secret

log = logging.getLogger(__name__)

MAX_FILE = 1 << 20
"""Bytes of a file: far more than any chain of certificates."""


class SecretFiles:
    """The secrets that Envoy's clusters name. ``write``: replaces a discovery file by its name and one resource."""

    def __init__(self, write: Callable[[str, list[Doc]], object]) -> None:
        self._write = write
        self._contents: dict[Secret, tuple[bytes, ...]] = {}
        self._last_error = ""

    def follow(self, secrets: Collection[Secret]) -> None:
        """Writes those of a policy, and looks after them from now on. Raises ``SetupError`` where one can't be read;
        then everything stays as it was.
        """
        fresh = {secret: _read(secret) for secret in secrets}
        self._replace(fresh)

    def refresh(self) -> None:
        """Writes those whose files have changed. What can't be read stays as it was, and the log says so once."""
        fresh = dict(self._contents)
        error = ""
        for secret in self._contents:
            try:
                fresh[secret] = _read(secret)
            except SetupError as failure:
                error = str(failure)
        if error and error != self._last_error:
            log.error("what Envoy knows of it stays as it was: %s", error)
        self._last_error = error
        self._replace(fresh)

    def _replace(self, fresh: dict[Secret, tuple[bytes, ...]]) -> None:
        for secret, contents in fresh.items():
            if contents != self._contents.get(secret):
                self._write(secret.discovery_file, [secret.resource(contents)])
        self._contents = fresh


def _read(secret: Secret) -> tuple[bytes, ...]:
    if secret.kind == "credential":
        return (_read_key(secret.files[0]),)
    return tuple(map(_read_pem, secret.files))


def _read_key(name: str) -> bytes:
    """A key without the white space around it. No message has any part of it."""
    key = _read_file(name).strip()
    if not key or not key.isascii() or not key.decode("ascii").isprintable():
        raise SetupError(f"{name}, which the policy or a flag names, does not hold a key: one line of printable ASCII")
    return key


def _read_pem(name: str) -> bytes:
    content = _read_file(name)
    if b"-----BEGIN " not in content:
        raise SetupError(f"{name}, which the policy or a flag names, holds no PEM block")
    return content


def _read_file(name: str) -> bytes:
    try:
        return read_regular(Path(name), MAX_FILE)
    except OSError as error:
        raise SetupError(f"cannot read {name}, which the policy or a flag names: {error.strerror}") from None
