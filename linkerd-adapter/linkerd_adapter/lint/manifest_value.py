"""A value in a manifest that knows where it stands.

Manifests are anybody's: a value of another shape than expected reads as absent here, and ``fields`` says so.
"""

from __future__ import annotations

import msgspec

from extproc.lint.findings import Finding, Rule
from extproc.yamldoc import Items, Mapping, Node, Scalar, child_path


class Place(msgspec.Struct, frozen=True):
    """A node of a YAML document, with the way to it."""

    file: str
    node: Node
    path: str

    def get(self, *keys: str) -> Place | None:
        """What lies at ``keys``, one within the other; None where nothing does, or null."""
        node, path = self.node, self.path
        for key in keys:
            if not isinstance(node, Mapping):
                return None
            found = next((value for name, value in node.entries if name.text == key), None)
            if found is None or _is_null(found):
                return None
            node, path = found, child_path(path, key)
        return Place(self.file, node, path)

    def entries(self) -> dict[str, Place]:
        """Of a mapping, without those that are null."""
        if not isinstance(self.node, Mapping):
            return {}
        return {
            key.text: Place(self.file, value, child_path(self.path, key.text))
            for key, value in self.node.entries
            if not _is_null(value)
        }

    def each(self, *keys: str) -> list[Place]:
        """The items of the list at ``keys``, without those that are null."""
        at = self.get(*keys)
        if at is None or not isinstance(at.node, Items):
            return []
        return [Place(at.file, item, f"{at.path}[{i}]") for i, item in enumerate(at.node.items) if not _is_null(item)]

    @property
    def text(self) -> str | None:
        """Of a value as it is written; None for lists and mappings."""
        return self.node.text if isinstance(self.node, Scalar) else None

    @property
    def number(self) -> int | None:
        """Of a whole number."""
        if not isinstance(self.node, Scalar) or self.node.tag != "int":
            return None
        try:
            return int(self.node.text)
        except ValueError:
            return None

    def text_at(self, *keys: str) -> str | None:
        """The text at ``keys``, if there is one."""
        at = self.get(*keys)
        return at.text if at else None

    def number_at(self, *keys: str) -> int | None:
        """The whole number at ``keys``, if there is one."""
        at = self.get(*keys)
        return at.number if at else None

    def breaks(self, rule: Rule, message: str = "", remedy: str = "") -> Finding:
        """``rule`` is broken here; ``message`` and ``remedy`` where the case allows to be more exact."""
        return rule.at(self.file, self.node.line, self.node.column, self.path, message, remedy)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.tag == "null"
