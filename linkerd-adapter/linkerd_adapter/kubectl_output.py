"""The output of ``kubectl get … -o yaml`` as plain trees: Lists unpacked, several documents.

Besides the policy loader the only module of this package that reads files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from extproc.errors import SetupError

MAX_BYTES = 256 << 20
"""Of one file: every route and Service of a large cluster."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Tree = dict[str, Any]


def read(path: Path) -> list[Tree]:
    """Every resource in the file. Raises ``SetupError`` that says what can't be read and where."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise SetupError(f"{path} is larger than {MAX_BYTES >> 20} MiB; ask kubectl for fewer namespaces")
    return parse(content, str(path))


def parse(content: bytes | str, name: str) -> list[Tree]:
    """Every resource in a YAML (or JSON) text called ``name``. Pure; raises as ``read``."""
    try:
        documents = list(yaml.load_all(content, _LOADER))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise SetupError(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    found = [resource for document in documents for resource in _unpacked(document)]
    if not found:
        raise SetupError(f"{name} holds no resource; write into it what kubectl get … -o yaml says")
    return found


def _unpacked(document: Any) -> Iterator[Tree]:
    if isinstance(document, dict):
        items = document.get("items")
        if str(document.get("kind")).endswith("List") and isinstance(items, list):
            for item in items:
                yield from _unpacked(item)
        else:
            yield document
