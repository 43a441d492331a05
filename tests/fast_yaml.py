"""YAML as PyYAML's safe loader and dumper have it, but in C where they are built so: many times as fast."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load(text: str) -> Any:
    return yaml.load(text, _LOADER)  # noqa: S506 - a safe one


def load_all(text: str) -> list[Any]:
    return list(yaml.load_all(text, _LOADER))


def dump(document: object) -> str:
    return dump_all([document])


def dump_all(documents: Iterable[object], **options: Any) -> str:
    written: str = yaml.dump_all(documents, Dumper=_DUMPER, **options)
    return written
