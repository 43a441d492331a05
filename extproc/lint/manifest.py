"""Kubernetes manifests as values that know their position: texts in, resources out.

Reading never fails: what is not there is an empty value, whose position is that of the value that would hold it. Null
is not there either, as for the API server and in protobuf's JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from extproc import yamldoc
from extproc.errors import Problem
from extproc.lint.findings import Finding, Rule
from extproc.yamldoc import Items, Mapping, Node, Scalar, child_path

MAX_NODES = 500_000
"""Scalars, lists and mappings in one file: what the Services and routes of a large cluster have."""
_DURATION = re.compile(r"(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:h|ms|m|us|ns|s))+")
_PART = re.compile(r"([0-9.]+)(h|ms|m|us|ns|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Value:
    """A value in a manifest, or the position where one could stand. False where nothing is written, or null."""

    __slots__ = ("file", "node", "path", "written")

    def __init__(self, file: str, node: Node, path: str = "", *, written: bool = True) -> None:
        self.file = file
        self.node = node
        self.path = path
        self.written = written and not (isinstance(node, Scalar) and node.tag == "null")

    def __bool__(self) -> bool:
        return self.written

    def at(self, *steps: str | int) -> Value:
        """The value at ``steps`` below. ``snake_case`` also finds ``snakeCase``: protobuf's JSON has both."""
        value = self
        for step in steps:
            value = value._step(step)
        return value

    def _step(self, step: str | int) -> Value:
        path = f"{self.path}[{step}]" if isinstance(step, int) else child_path(self.path, step)
        if self.written and isinstance(step, int) and isinstance(self.node, Items) and step < len(self.node.items):
            return Value(self.file, self.node.items[step], path)
        if self.written and isinstance(step, str) and isinstance(self.node, Mapping):
            for key, node in self.node.entries:
                if key.text in (step, camel(step)):
                    return Value(self.file, node, child_path(self.path, key.text))
        return Value(self.file, self.node, path, written=False)

    @property
    def text(self) -> str:
        """The scalar as it is written; empty where there is none."""
        return self.node.text if self.written and isinstance(self.node, Scalar) else ""

    @property
    def is_scalar(self) -> bool:
        """Whether a single value is written here, and no list or mapping."""
        return self.written and isinstance(self.node, Scalar)

    @property
    def flag(self) -> bool:
        """Whether this says true."""
        return self.text.lower() == "true"

    @property
    def number(self) -> float | None:
        """The number, quoted or not; None where there is none."""
        try:
            return float(self.text)
        except ValueError:
            return None

    @property
    def integer(self) -> int | None:
        """The whole number, which must not be quoted; None where there is none, or one of thousands of digits."""
        if not self.written or not isinstance(self.node, Scalar) or self.node.tag != "int":
            return None
        try:
            return int(self.node.text)
        except ValueError:
            return None

    @property
    def seconds(self) -> float | None:
        """A duration as Go and protobuf write it, ``1m30s`` or ``0.25s``; None where there is none."""
        if not _DURATION.fullmatch(self.text):
            return None
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(self.text))

    @property
    def items(self) -> list[Value]:
        """The items of a list, nulls left out; none where this is no list."""
        nodes: Sequence[Node] = self.node.items if self.written and isinstance(self.node, Items) else ()
        return [item for i, node in enumerate(nodes) if (item := Value(self.file, node, f"{self.path}[{i}]"))]

    @property
    def entries(self) -> dict[str, Value]:
        """What a mapping holds, by key, nulls left out; nothing where this is none."""
        pairs = self.node.entries if self.written and isinstance(self.node, Mapping) else ()
        values = ((key.text, Value(self.file, node, child_path(self.path, key.text))) for key, node in pairs)
        return {key: value for key, value in values if value}

    @property
    def content(self) -> object:
        """All that is written here and below, without positions: equal for values that say the same."""
        if self.written and isinstance(self.node, Mapping):
            return frozenset((name, value.content) for name, value in self.entries.items())
        if self.written and isinstance(self.node, Items):
            return tuple(item.content for item in self.items)
        return self.text

    def named(self) -> Iterator[tuple[str, Value]]:
        """The keys of a mapping, those of nulls too, each with its own position."""
        pairs = self.node.entries if self.written and isinstance(self.node, Mapping) else ()
        for key, _ in pairs:
            yield key.text, Value(self.file, key, child_path(self.path, key.text))

    def walk(self) -> Iterator[Value]:
        """This value and all below it, outer ones first."""
        stack = [self]
        while stack:
            value = stack.pop()
            yield value
            stack += reversed([*value.items, *value.entries.values()])

    def breaks(self, rule: Rule, message: str = "", remedy: str = "") -> Finding:
        """That ``rule`` is broken here."""
        return rule.at(self.file, self.node.line, self.node.column, self.path, message, remedy)


class Resource(msgspec.Struct, frozen=True):
    """One Kubernetes object."""

    root: Value
    api_version: str
    kind: str
    name: str
    namespace: str

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name), by which references name it."""
        return self.namespace, self.name

    @property
    def group(self) -> str:
        """The API group; empty for Kubernetes' core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version of the API, without its group."""
        return self.api_version.rpartition("/")[2]

    @property
    def spec(self) -> Value:
        """Its ``spec``, written or not."""
        return self.root.at("spec")

    @property
    def annotations(self) -> dict[str, Value]:
        """Its annotations by key."""
        return self.root.at("metadata", "annotations").entries

    @property
    def location(self) -> str:
        """For a message elsewhere that points here: ``file:line``."""
        return f"{self.root.file}:{self.root.node.line}"


def documents(name: str, text: str) -> tuple[list[Value], list[Problem]]:
    """The documents in a file of YAML or JSON, and what is wrong with them as YAML."""
    roots, problems = yamldoc.read(name, text, MAX_NODES)
    return [Value(name, root) for root in roots], problems


def is_list(document: Value) -> bool:
    """Whether a document is a List of objects: ``List``, or a typed one such as ``ServiceList``."""
    return document.at("kind").text.endswith("List")


def resources(document: Value, namespace: str, api_version: str = "", kind: str = "") -> Iterator[Resource]:
    """The object that a document is, or those of a List, of Lists in it too.

    ``namespace``: of objects that name none. ``api_version``, ``kind``: those that the items of a typed List need not
    repeat. An object may lack either.
    """
    api_version = document.at("apiVersion").text or api_version
    kind = document.at("kind").text or kind
    if is_list(document):
        for item in document.at("items").items:
            yield from resources(item, namespace, api_version, kind.removesuffix("List"))
    else:
        metadata = document.at("metadata")
        yield Resource(
            root=document,
            api_version=api_version,
            kind=kind,
            name=metadata.at("name").text,
            namespace=metadata.at("namespace").text or namespace,
        )


def camel(name: str) -> str:
    """``snake_case`` as protobuf's JSON writes it: ``snakeCase``."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
