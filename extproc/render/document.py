"""Plain data as YAML that every reader takes for the same data.

PyYAML quotes strings that it would itself read as another type. ``kubectl`` (Go) and Envoy (yaml-cpp) read more strings
as another type, such as ``n`` (false) and ``3e12`` (a number), and reject the file where a string is required.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import yaml

try:
    from yaml import CSafeDumper as SafeDumper
except ImportError:  # PyYAML was built without libyaml: what it writes means the same, and takes five times as long
    from yaml import SafeDumper  # type: ignore[assignment]

Doc: TypeAlias = dict[str, Any]
"""A manifest, or part of one, as plain data."""

_AMBIGUOUS = re.compile(
    r"[yYnN]|[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?0[oOxXbB][0-9a-fA-F_]+"
)
"""Strings that some YAML reader takes for a number or a boolean."""
_OTHER_BREAKS = re.compile("[\u2028\u2029]")
"""Ends of lines in YAML 1.1, where PyYAML indents the next one; in YAML 1.2, as yaml-cpp reads it, they are none."""


def to_yaml(doc: Doc) -> str:
    """YAML with keys in insertion order, multi-line strings as literal blocks, and no aliases."""
    return yaml.dump(doc, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1 << 20)


class _Plain(SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Repeats data that occurs more than once, for readability."""
        return True


def _text(dumper: _Plain, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else "'" if _AMBIGUOUS.fullmatch(value) else None
    if _OTHER_BREAKS.search(value):
        style = '"'  # they are escaped
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _text)
