"""CEL as Envoy's metrics use it: does it parse, and which attributes does it read.

The grammar is that of the CEL specification, less what tags have no use for (message construction, bytes' escapes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[str, ...]
"""An attribute as it is read: ``request.headers['x-a']`` is ("request", "headers", "x-a")."""

MAX_LENGTH = 4096
"""Characters of an expression."""
_MAX_DEPTH = 64

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)u?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    )""",
    re.VERBOSE,
)
_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_ARITHMETIC = 3
"""From this level on an operator's result is made of its operands; before, it is a truth value."""
_TESTS = ("has", "size", "startsWith", "endsWith", "contains", "matches")
_LITERALS = ("true", "false", "null")


_TLS = (
    *("tls_version", "subject_local_certificate", "subject_peer_certificate", "dns_san_local_certificate"),
    *("dns_san_peer_certificate", "uri_san_local_certificate", "uri_san_peer_certificate"),
    *("sha256_peer_certificate_digest", "transport_failure_reason"),
)
_REQUEST = "path url_path host scheme method referer headers time id useragent size total_size duration protocol query"
_RESPONSE = "code code_details trailers flags grpc_status headers size total_size backend_latency"
_XDS = (
    "node cluster_name cluster_metadata route_name route_metadata virtual_host_name virtual_host_metadata "
    "listener_direction listener_metadata filter_chain_name upstream_host_metadata upstream_host_locality_metadata"
)
_UPSTREAM = "address port local_address request_attempt_count cx_pool_ready_duration locality"
ATTRIBUTES: dict[str, frozenset[str] | None] = {
    "request": frozenset(_REQUEST.split()),
    "response": frozenset(_RESPONSE.split()),
    "source": frozenset(("address", "port")),
    "destination": frozenset(("address", "port")),
    "connection": frozenset((*_TLS, "id", "mtls", "requested_server_name", "termination_details")),
    "upstream": frozenset((*_TLS, *_UPSTREAM.split())),
    "xds": frozenset(_XDS.split()),
    "metadata": frozenset(("filter_metadata", "typed_filter_metadata")),
    "filter_state": None,
    "upstream_filter_state": None,
}
"""Envoy's attributes; None: any name."""


class Unparsable(ValueError):  # noqa: N818 - named for what is so
    """No CEL. The message says what was expected where."""


class Read(NamedTuple):
    """An attribute that an expression reads."""

    path: Path
    shown: bool
    """Its value may become the expression's; otherwise it only decides, as before ``?`` and beside ``==``."""


def attributes(expression: str) -> list[Read]:
    """Every attribute that the expression reads, in order. Raises ``Unparsable``."""
    if len(expression) > MAX_LENGTH:
        raise Unparsable(f"it is longer than {MAX_LENGTH} characters")
    parser = _Parser(list(_tokens(expression)))
    parser.expression()
    if parser.kind:
        raise Unparsable(f"{parser.value!r} is one too many")
    return parser.reads


def known(path: Path) -> bool:
    """Whether Envoy has an attribute of this name."""
    root, *rest = path
    names = ATTRIBUTES.get(root, frozenset())
    return root in ATTRIBUTES and (names is None or not rest or rest[0] in names)


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(expression.rstrip())
    while position < end:
        found = _TOKEN.match(expression, position)
        if not found:
            raise Unparsable(f"{expression[position : position + 10]!r} can't be read")
        position = found.end()
        yield found.lastgroup or "", found[found.lastgroup or 0]


class _Parser:
    """Recursive descent over tokens; collects what is read."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0
        self.reads: list[Read] = []

    @property
    def kind(self) -> str:
        """Of the present token; empty at the end."""
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    @property
    def value(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self, sign: str) -> bool:
        if self.kind in ("sign", "name") and self.value == sign:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise Unparsable(f"{sign!r} is missing before {self.value or 'the end'!r}")

    def expression(self) -> None:
        """A whole one, with ``?:``."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Unparsable("it is nested too deeply")
        before = len(self.reads)
        self._level(0)
        if self._take("?"):
            self._decided(before)
            self._level(0)
            self._expect(":")
            self.expression()
        self._depth -= 1

    def _level(self, level: int) -> None:
        if level == len(_LEVELS):
            self._unary()
            return
        before = len(self.reads)
        self._level(level + 1)
        while any(self._take(sign) for sign in _LEVELS[level]):
            self._level(level + 1)
            if level < _ARITHMETIC:
                self._decided(before)

    def _decided(self, start: int) -> None:
        """What was read since ``start`` has become a truth value."""
        self.reads[start:] = [Read(path, shown=False) for path, _ in self.reads[start:]]

    def _unary(self) -> None:
        while self._take("!") or self._take("-"):
            pass
        path = self._primary()
        while True:
            if self._take("."):
                if self.kind != "name":
                    raise Unparsable(f"a name is missing before {self.value or 'the end'!r}")
                path = (*path, self.value) if path else ()
                self._next += 1
                if self._take("("):
                    # A method: what it is called on is read, its name is none.
                    before = len(self.reads)
                    self._read(path[:-1])
                    self._call(self._tokens[self._next - 2][1], before)
                    path = ()
            elif self._take("["):
                key = self._key()
                self.expression()
                self._expect("]")
                path = (*path, key) if path else ()
            else:
                break
        self._read(path)

    def _key(self) -> str:
        """The key in brackets where it is a plain text; ``*`` where it is computed."""
        alone = self._tokens[self._next + 1 : self._next + 2] == [("sign", "]")]
        return self.value[1:-1] if alone and self.kind == "text" and self.value[0] in "\"'" else "*"

    def _read(self, path: Path) -> None:
        if path:
            self.reads.append(Read(path, shown=True))

    def _call(self, name: str, before: int) -> None:
        self._list(")")
        if name in _TESTS:
            self._decided(before)

    def _primary(self) -> Path:
        if self._take(".") and self.kind != "name":
            raise Unparsable(f"a name is missing before {self.value or 'the end'!r}")
        kind, value = self.kind, self.value
        self._next += 1
        if kind in ("text", "number"):
            return ()
        if kind == "name" and value != "in":
            if self._take("("):
                self._call(value, len(self.reads))
                return ()
            return () if value in _LITERALS else (value,)
        if value == "(":
            self.expression()
            self._expect(")")
            return ()
        if value == "[":
            self._list("]")
            return ()
        if value == "{":
            self._map()
            return ()
        raise Unparsable(f"a value is missing before {value or 'the end'!r}")

    def _list(self, end: str) -> None:
        while not self._take(end):
            self.expression()
            if not self._take(","):
                self._expect(end)
                return

    def _map(self) -> None:
        while not self._take("}"):
            self.expression()
            self._expect(":")
            self.expression()
            if not self._take(","):
                self._expect("}")
                return
