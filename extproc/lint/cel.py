"""CEL as Envoy compiles it: does it, and which attributes does an expression read.

The grammar is that of the CEL specification, less what tags have no use for (message construction). Envoy compiles an
expression when it reads its configuration: it refuses functions that it does not have, as ``string()`` and everything
with a variable of its own (``exists``, ``map``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from extproc.lint import cel_vocabulary, re2_regex
from extproc.lint.envoy_attributes import Path

MAX_LENGTH = 4096
"""Characters of an expression."""
_MAX_DEPTH = 32

_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_ARITHMETIC = 3
"""From this level on an operator's result is made of its operands; before, it is a truth value."""
_TESTS = ("size", "startsWith", "endsWith", "contains", "matches")
_LITERALS = ("true", "false", "null")


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
    try:
        parser = _Parser(cel_vocabulary.tokens(expression))
    except ValueError as error:
        raise Unparsable(*error.args) from error
    parser.expression()
    if parser.kind:
        raise Unparsable(f"{parser.value!r} is one too many")
    return parser.reads


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

    def _kind(self, at: int) -> str:
        return self._tokens[at][0] if at < len(self._tokens) else ""

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
        start = self._next
        while self._take("!"):
            pass
        if self._next > start and self.value == "-" and self._kind(self._next + 1) != "number":
            raise Unparsable("'-' stands after '!'")
        while self._take("-"):
            pass
        if self.value == "!":
            raise Unparsable("'!' stands after '-'")
        path, _ = self._member()
        self._read(path)

    def _member(self) -> tuple[Path, bool]:
        """A value with its fields, items and methods; whether a field comes last."""
        path, selects = self._primary(), False
        while True:
            if self._take("."):
                if self.kind != "name" or self.value in (*_LITERALS, "in"):
                    raise Unparsable(f"a name is missing before {self.value or 'the end'!r}")
                path, selects = (*path, self.value) if path else (), True
                self._next += 1
                if self._take("("):
                    # A method: what it is called on is read, its name is none.
                    before, method, on = len(self.reads), self._tokens[self._next - 2][1], path[:-1]
                    if on == ("re",):
                        self._call(method, before, cel_vocabulary.OF_RE)
                    else:
                        self._read(on)
                        self._call(method, before, cel_vocabulary.METHODS)
                    path, selects = (), False
            elif self._take("["):
                key = self._key()
                self.expression()
                self._expect("]")
                path, selects = (*path, key) if path else (), False
            else:
                return path, selects

    def _key(self) -> str:
        """The key in brackets where it is a plain text; ``*`` where it is computed."""
        alone = self._tokens[self._next + 1 : self._next + 2] == [("sign", "]")]
        return self.value[1:-1] if alone and self.kind == "text" and self.value[0] in "\"'" else "*"

    def _read(self, path: Path) -> None:
        if path:
            self.reads.append(Read(path, shown=True))

    def _call(self, name: str, before: int, known: Mapping[str, tuple[int, ...]]) -> None:
        """The arguments of a function, behind the parenthesis."""
        start = self._next
        count = self._list(")", trailing=False)
        if count not in known.get(name, ()):
            raise Unparsable(f"Envoy has no function {name} with {count} argument{'s' * (count != 1)} here")
        literal = self._tokens[self._next - 2] if self._next - start in (2, 4) else ("", "")
        if (
            name == "matches"
            and literal[0] == "text"
            and (why := re2_regex.refused(cel_vocabulary.content(literal[1])))
        ):
            raise Unparsable(f"RE2 refuses the expression of matches: {why}")
        if name in _TESTS:
            self._decided(before)

    def _has(self) -> None:
        """The argument of ``has``, which is a field and nothing else."""
        before = len(self.reads)
        path, selects = self._member()
        if not selects:
            raise Unparsable("has() wants a field, as in has(request.time)")
        self._expect(")")
        self._read(path)
        self._decided(before)

    def _primary(self) -> Path:
        rooted = self._take(".")
        if rooted and self.kind != "name":
            raise Unparsable(f"a name is missing before {self.value or 'the end'!r}")
        kind, value = self.kind, self.value
        self._next += 1
        if kind in ("text", "number"):
            return ()
        if kind == "name" and value != "in":
            if value in cel_vocabulary.RESERVED:
                raise Unparsable(f"{value} is a reserved word")
            if self._take("("):
                self._has() if value == "has" and not rooted else self._call(
                    value, len(self.reads), cel_vocabulary.FUNCTIONS
                )
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

    def _list(self, end: str, *, trailing: bool = True) -> int:
        """How many values there were."""
        count = 0
        while not self._take(end):
            self.expression()
            count += 1
            if not self._take(","):
                self._expect(end)
                break
            if not trailing and self.value == end:
                raise Unparsable(f"a value is missing before {end!r}")
        return count

    def _map(self) -> None:
        while not self._take("}"):
            self.expression()
            self._expect(":")
            self.expression()
            if not self._take(","):
                self._expect("}")
                return
