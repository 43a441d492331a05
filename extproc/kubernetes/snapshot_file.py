"""The objects that last served, on disk: what a processor starts with while the API server is away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from extproc.kubernetes.api import Object

FILE = "policies.json"
FORMAT = 1
"""Changes with what is in the file: another version of ours reads no other."""


class SnapshotProblem(Exception):  # noqa: N818 - named for what is so
    """There is no snapshot that can be read, or none can be written; the message says why."""


class _Content(msgspec.Struct, frozen=True):
    format: int
    namespaces: tuple[str, ...]
    """Those that the objects are of; none: all."""
    objects: list[Object]


def write(directory: Path, namespaces: Sequence[str], objects: Sequence[Object]) -> None:
    """Puts the objects in the place of those from before, in one step. Raises ``SnapshotProblem``."""
    content = msgspec.json.encode(_Content(FORMAT, tuple(sorted(namespaces)), list(objects)))
    try:
        with NamedTemporaryFile(dir=directory, prefix=f".{FILE}.", delete=False) as file:
            try:
                file.write(content)
                file.close()
                os.replace(file.name, directory / FILE)  # noqa: PTH105 - the name is a text
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise SnapshotProblem(f"no snapshot can be written into {directory}: {error.strerror}") from None


def read(directory: Path, namespaces: Sequence[str]) -> list[Object]:
    """The objects that ``write`` was given for the same namespaces. Raises ``SnapshotProblem``."""
    path = directory / FILE
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        raise SnapshotProblem(f"there is no snapshot in {directory} yet") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SnapshotProblem(f"{path} can't be read: {error}") from None
    if content.format != FORMAT:
        raise SnapshotProblem(f"{path} is of another version of extproc")
    if content.namespaces != tuple(sorted(namespaces)):
        raise SnapshotProblem(f"{path} is of other namespaces")
    if not all(_is_named(found) for found in content.objects):
        raise SnapshotProblem(f"{path} holds what is no object")
    return content.objects


def _is_named(found: Object) -> bool:
    metadata = found.get("metadata")
    return isinstance(found.get("kind"), str) and isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
