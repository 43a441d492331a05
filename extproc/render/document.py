"""YAML that people read and every program reads alike.

PyYAML quotes what *it* would not read as a text. ``kubectl`` (Go) and Envoy (yaml-cpp) take more for something else:
``n`` for false, ``3e12``, the short hash of a commit, for a number. Where a text must be, they refuse the file.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import yaml

Doc: TypeAlias = dict[str, Any]
"""A manifest, or a piece of one, as plain data."""

_AMBIGUOUS = re.compile(
    r"[yYnN]|[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?0[oOxXbB][0-9a-fA-F_]+"
)
"""Texts that some reader takes for a number, or for yes and no."""


def to_yaml(doc: Doc) -> str:
    """Keys in our order, texts of several lines as they are, no aliases."""
    return yaml.dump(doc, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1 << 20)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """No aliases: people should not have to look them up."""
        return True


def _text(dumper: _Plain, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else "'" if _AMBIGUOUS.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _text)
