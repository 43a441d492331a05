"""Kubernetes manifests as values that know their place: files in, resources out.

Reading never fails: what is not there is an empty value, whose place is that of what would hold it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from extproc import yamldoc
from extproc.errors import Problem
from extproc.lint.findings import Finding, Rule
from extproc.yamldoc import Items, Mapping, Node, Scalar, child_path

_FIELDS = ("apiVersion", "kind", "metadata", "spec")
"""What has none of these is something else, as the values of a chart, and no business of ours."""
_DURATION = re.compile(r"(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:h|ms|m|us|ns|s))+")
_PART = re.compile(r"([0-9.]+)(h|ms|m|us|ns|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Value:
    """A value in a manifest, or the place where one could stand. False where nothing is written."""

    __slots__ = ("file", "node", "path", "written")

    def __init__(self, file: str, node: Node, path: str = "", *, written: bool = True) -> None:
        self.file = file
        self.node = node
        self.path = path
        self.written = written

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
        return self.node.text if self.written and isinstance(self.node, Scalar) and self.node.tag != "null" else ""

    @property
    def flag(self) -> bool:
        """Whether this says true."""
        return self.text.lower() == "true"

    @property
    def number(self) -> float | None:
        """The number; None where there is none."""
        try:
            return float(self.text)
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
        """The items of a list; none where this is no list."""
        nodes: Sequence[Node] = self.node.items if self.written and isinstance(self.node, Items) else ()
        return [Value(self.file, node, f"{self.path}[{i}]") for i, node in enumerate(nodes)]

    @property
    def entries(self) -> dict[str, Value]:
        """What a mapping holds, by key; nothing where this is none."""
        pairs = self.node.entries if self.written and isinstance(self.node, Mapping) else ()
        return {key.text: Value(self.file, node, child_path(self.path, key.text)) for key, node in pairs}

    @property
    def content(self) -> object:
        """All that is written here and below, without its places: equal for values that say the same."""
        if self.written and isinstance(self.node, Mapping):
            return frozenset((name, value.content) for name, value in self.entries.items())
        if self.written and isinstance(self.node, Items):
            return tuple(item.content for item in self.items)
        return self.text

    def named(self) -> Iterator[tuple[str, Value]]:
        """The keys of a mapping, each with its own place."""
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

    api_version: str
    kind: str
    name: str
    namespace: str
    """``default`` where the manifest names none."""
    root: Value

    @property
    def spec(self) -> Value:
        """Its ``spec``, written or not."""
        return self.root.at("spec")

    @property
    def group(self) -> str:
        """The API group; empty for Kubernetes' core."""
        return self.api_version.rpartition("/")[0]

    @property
    def place(self) -> str:
        """For a message elsewhere that points here: ``file:line``."""
        return f"{self.root.file}:{self.root.node.line}"


def read(sources: Iterable[tuple[str, str]]) -> tuple[list[Resource], list[Problem]]:
    """The resources in ``sources``, pairs of (name, text), those of a List too, and what is wrong with them as YAML.

    Documents that are no manifests are left out.
    """
    resources: list[Resource] = []
    problems: list[Problem] = []
    for name, text in sources:
        roots, found = yamldoc.read(name, text)
        problems += found
        for root in roots:
            value = Value(name, root)
            if not any(value.at(field) for field in _FIELDS):
                continue
            if not value.at("kind").text:
                message, remedy = "is no Kubernetes manifest: it has no kind", "give it apiVersion and kind"
                problems.append(Problem(name, root.line, root.column, "", message, remedy))
                continue
            listed = value.at("items").items if value.at("kind").text == "List" else [value]
            resources += map(_resource, listed)
    return resources, problems


def _resource(root: Value) -> Resource:
    return Resource(
        api_version=root.at("apiVersion").text,
        kind=root.at("kind").text,
        name=root.at("metadata", "name").text,
        namespace=root.at("metadata", "namespace").text or "default",
        root=root,
    )


def camel(name: str) -> str:
    """``snake_case`` as protobuf's JSON writes it: ``snakeCase``."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
