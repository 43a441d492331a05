"""Parses YAML into trees of nodes with line and column.

Built from PyYAML's events, not with its constructor: tags create no objects, the depth of the input causes no
recursion, and aliases count as often as they are used, so that a small file can't expand to a large tree. Duplicate
keys are reported here, since the tree can't hold them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Protocol

import msgspec
import yaml
from yaml.reader import Reader

from extproc.errors import Problem

MAX_DEPTH = 32
"""Nesting depth of lists and mappings, aliases expanded."""
MAX_NODES = 100_000
"""Scalars, lists and mappings in one file, aliases expanded."""

_TAG = "tag:yaml.org,2002:"
_CORE = frozenset({"str", "int", "float", "bool", "null", "timestamp", "merge", "value"})
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node(msgspec.Struct, frozen=True):
    """A place in a file: ``line`` and ``column`` count from 1."""

    line: int
    column: int


class Scalar(Node, frozen=True):
    """A scalar, as text."""

    text: str
    tag: str
    """The type that YAML 1.1 gives it: str, int, float, bool, null, timestamp."""


class Items(Node, frozen=True):
    """A list."""

    items: tuple[Node, ...]


class Mapping(Node, frozen=True):
    """A mapping, in the order of the file. No two keys have the same text."""

    entries: tuple[tuple[Scalar, Node], ...]


def quoted(text: str) -> str:
    """``text`` for a message: in quotes, shortened where long, escaped where it is not printable."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(cut, ensure_ascii=not cut.isprintable())


def child_path(path: str, key: str) -> str:
    """The path of the value at ``key``; a key that isn't a plain word is quoted."""
    if not re.fullmatch(r"[\w./-]{1,80}", key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key


def read(file: str, text: str, max_nodes: int = MAX_NODES) -> tuple[list[Node], list[Problem]]:
    """The documents in ``text``, empty ones left out, and what is wrong with it as YAML.

    After an error of syntax, and beyond ``max_nodes``, the documents before it are still given. Never raises for any
    text.
    """
    text = text.removeprefix("\ufeff")
    if bad := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        message = f"character U+{ord(bad.group()):04X} is not allowed in YAML"
        remedy = 'remove it, or write it as an escape in "double quotes"'
        return [], [Problem(file, line, column, "", message, remedy)]
    return _Reader(file, text, max_nodes).documents()


class _Mark(Protocol):
    """A place in PyYAML's numbering, from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class _StopReading(Exception):  # noqa: N818
    """Reading ends here; the problem has been recorded."""


class _OpenCollection:
    """A list or mapping whose end has not been read yet."""

    def __init__(self, event: yaml.CollectionStartEvent, path: str) -> None:
        self.event = event
        self.path = path
        self.keys: dict[str, Scalar] = {}
        self.key: Scalar | None = None
        """The key of the next value; None: a key comes next."""
        self.values: list[Node] = []
        self.keep = True
        """Whether the next value is kept: its key is valid and no duplicate."""
        self.size = self.depth = 1

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.event, yaml.MappingStartEvent)

    def next_path(self) -> str:
        """The path of the next value."""
        if not self.is_mapping:
            return f"{self.path}[{len(self.values)}]"
        return child_path(self.path, self.key.text) if self.key else self.path

    def node(self) -> Node:
        line, column = _place(self.event.start_mark)
        if self.is_mapping:
            return Mapping(line, column, tuple(zip(self.keys.values(), self.values, strict=True)))
        return Items(line, column, tuple(self.values))


class _Reader:
    """Reads one file; events in, trees out."""

    def __init__(self, file: str, text: str, max_nodes: int) -> None:
        self._file = file
        self._max_nodes = max_nodes
        self._loader = _LOADER(text)
        self._problems: list[Problem] = []
        self._documents: list[Node] = []
        self._stack: list[_OpenCollection] = []
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._nodes = 0

    def documents(self) -> tuple[list[Node], list[Problem]]:
        where: _Mark | None = None
        try:
            for event in self._events():
                where = event.start_mark
                self._handle(event)
        except _StopReading:
            pass
        except yaml.MarkedYAMLError as e:
            mark = e.problem_mark or e.context_mark or where
            if "nesting depth" in (e.problem or ""):  # libyaml's own limit, which newer ones find before we do
                self._too_deep(mark)
                return self._documents, self._problems
            message = ", ".join(part for part in (e.context, e.problem) if part)
            if mark and e.context_mark and e.context_mark.line != mark.line:
                message += f" (it began on line {e.context_mark.line + 1})"
            self._syntax(mark, message)
        except (yaml.YAMLError, ValueError, OverflowError):
            # PyYAML lets some of Python's own errors through, as for the escape "\UFFFFFFFF".
            self._syntax(where, "has a value that YAML cannot express")
        finally:
            self._loader.dispose()
        return self._documents, self._problems

    def _events(self) -> Iterator[yaml.Event]:
        while self._loader.check_event():
            event = self._loader.get_event()
            if event is not None:
                yield event

    def _syntax(self, mark: _Mark | None, message: str) -> None:
        remedy = "correct the YAML here or just before (indentation, quotes, brackets, tabs)"
        self._problems.append(Problem(self._file, *_place(mark), "", f"not valid YAML: {message}", remedy))

    def _problem(self, mark: _Mark | None, path: str, message: str, remedy: str) -> None:
        self._problems.append(Problem(self._file, *_place(mark), path, message, remedy))

    def _too_deep(self, mark: _Mark | None) -> None:
        self._problem(mark, "", f"nested deeper than {MAX_DEPTH} levels", "write it flat: no field lies as deep")

    def _path(self) -> str:
        return self._stack[-1].next_path() if self._stack else ""

    def _handle(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._anchors.clear()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.ScalarEvent():
                self._count(event, 1, 1)
                line, column = _place(event.start_mark)
                node = Scalar(line, column, event.value, self._tag(event))
                self._add(event, node, 1, 1)
            case yaml.CollectionStartEvent():
                self._count(event, 1, 1)
                if event.tag and event.tag not in (f"{_TAG}map", f"{_TAG}seq"):
                    self._no_tag(event.start_mark, event.tag)
                self._stack.append(_OpenCollection(event, self._path()))
            case yaml.CollectionEndEvent():
                frame = self._stack.pop()
                self._add(frame.event, frame.node(), frame.size, frame.depth)

    def _tag(self, event: yaml.ScalarEvent) -> str:
        tag = event.tag
        if not tag or tag == "!":
            plain = event.implicit[0] and tag != "!"
            tag = self._loader.resolve(yaml.ScalarNode, event.value, (plain, True))  # type: ignore[no-untyped-call]
        short = str(tag).removeprefix(_TAG)
        if short not in _CORE:
            self._no_tag(event.start_mark, event.tag)
            return "str"
        return short

    def _no_tag(self, mark: _Mark | None, tag: str | None) -> None:
        message = f"the tag {quoted(str(tag))} means nothing here"
        self._problem(mark, self._path(), message, "remove the tag")

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            message = f"the alias *{event.anchor} refers to nothing that is complete before it"
            self._problem(event.start_mark, self._path(), message, f"define &{event.anchor} first")
            raise _StopReading
        node, size, depth = self._anchors[event.anchor]
        self._count(event, size, depth)
        self._add(event, node, size, depth)

    def _count(self, event: yaml.Event, size: int, depth: int) -> None:
        """Stops reading where the file has too many nodes or is nested too deeply."""
        self._nodes += size
        if self._nodes > self._max_nodes:
            message = f"more than {self._max_nodes} values in one file, aliases unfolded"
            self._problem(event.start_mark, "", message, "split the file, or use fewer aliases")
            raise _StopReading
        if len(self._stack) + depth > MAX_DEPTH:
            self._too_deep(event.start_mark)
            raise _StopReading

    def _add(self, event: yaml.NodeEvent, node: Node, size: int, depth: int) -> None:
        """Adds a complete node to the open collection, or to the documents."""
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = (node, size, depth)
        if not self._stack:
            if not (isinstance(node, Scalar) and node.tag == "null"):
                self._documents.append(node)
            return
        frame = self._stack[-1]
        frame.size += size
        frame.depth = max(frame.depth, depth + 1)
        if frame.is_mapping and frame.key is None:
            self._key(event, frame, node)
            return
        if frame.keep:
            frame.values.append(node)
        frame.key, frame.keep = None, True

    def _key(self, event: yaml.NodeEvent, frame: _OpenCollection, node: Node) -> None:
        if not isinstance(node, Scalar):
            self._problem(event.start_mark, frame.path, "a key must be a word", "write key: value")
            frame.key, frame.keep = Scalar(node.line, node.column, "?", "str"), False
            return
        frame.key = node
        if node.tag == "merge":
            remedy = "write the fields out, or use an alias for a whole value"
            self._problem(event.start_mark, frame.path, "merge keys (<<) are not supported", remedy)
            frame.keep = False
        elif first := frame.keys.get(node.text):
            message = f"{quoted(node.text)} is here a second time, after line {first.line}"
            self._problem(event.start_mark, frame.next_path(), message, "remove one of the two")
            frame.keep = False
        else:
            frame.keys[node.text] = node


def _place(mark: _Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
