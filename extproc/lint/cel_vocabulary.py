"""CEL's words as Envoy has them: tokens and functions.

The grammar of the tokens is that of the CEL specification; which functions there are is what Envoy 1.40 said.
"""

from __future__ import annotations

import re

_ESCAPE = r"""\\(?:[abfnrtv"'`?\\]|[xX][0-9a-fA-F]{2}|[0-3][0-7]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"""
_TEXTS = (
    *(r'[rR]"""(?:.|\n)*?"""', r"[rR]\'\'\'(?:.|\n)*?\'\'\'", r'[rR]"[^"\n\r]*"', r"[rR]'[^'\n\r]*'"),
    *(rf'"""(?:[^\\]|{_ESCAPE})*?"""', rf"\'\'\'(?:[^\\]|{_ESCAPE})*?\'\'\'"),
    *(rf'"(?:[^"\\\n\r]|{_ESCAPE})*"', rf"'(?:[^'\\\n\r]|{_ESCAPE})*'"),
)
_TOKEN = re.compile(
    rf"(?P<text>[bB]?(?:{'|'.join(_TEXTS)}))"
    r"|(?P<number>0x[0-9a-fA-F]+[uU]?|[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|[0-9]+[uU]?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])"
)
_SPACE = re.compile(r"(?:[ \t\n\f\r]|//[^\n]*)*")

RESERVED = frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"),
        *("namespace", "return", "var", "void", "while"),
    )
)
"""No attribute is called so, a field may be."""
_TIMES = (
    *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes"),
    *("getSeconds", "getMilliseconds"),
)
_CONVERSIONS = ("size", "int", "uint", "double", "bool", "bytes", "type", "dyn", "duration", "timestamp")
_SEARCHES = ("startsWith", "endsWith", "contains", "matches")
FUNCTIONS = {**dict.fromkeys(_CONVERSIONS, (1,)), **dict.fromkeys(_SEARCHES, (2,))}
"""Each with how many arguments it may have."""
METHODS = {"size": (0,), **dict.fromkeys(_SEARCHES, (1,)), **dict.fromkeys(_TIMES, (0, 1))}
"""Those that are called on a value."""
OF_RE = {"extract": (3,), "capture": (2,), "captureN": (2,)}
"""Those that are called on ``re``."""


def tokens(expression: str) -> list[tuple[str, str]]:
    """Kind (text, number, name, sign) and text of each. Raises ``ValueError`` that says what can't be read."""
    found: list[tuple[str, str]] = []
    position = 0
    while True:
        if space := _SPACE.match(expression, position):
            position = space.end()
        if position == len(expression):
            return found
        token = _TOKEN.match(expression, position)
        if not token:
            raise ValueError(f"{expression[position : position + 10]!r} can't be read")
        position = token.end()
        kind, written = token.lastgroup or "", token[token.lastgroup or 0]
        if kind == "number":
            _fits(written, negative=bool(found) and found[-1] == ("sign", "-"))
        elif kind == "text":
            _escapes(written)
        found.append((kind, written))


def content(text: str) -> str:
    """What is between the quotes of a text that is of one line."""
    return text.lstrip("bBrR")[1:-1] if "r" in text[:2].lower() else text.lstrip("bB")[1:-1].replace("\\\\", "\\")


def _fits(written: str, *, negative: bool) -> None:
    """Whole numbers have 64 bits."""
    whole = written.rstrip("uU")
    if re.fullmatch(r"0x[0-9a-fA-F]+|[0-9]+", whole):
        limit = 2**64 - 1 if whole != written else 2**63 - (not negative)
        if len(whole) > 40 or int(whole, 16 if whole.startswith("0x") else 10) > limit:
            raise ValueError(f"{written[:20]} is too large")


def _escapes(written: str) -> None:
    """Escapes that stand for no character, or for one in bytes."""
    if "r" in written[:2].lower():
        inner = written.rstrip("\"'")
        if (len(inner) - len(inner.rstrip("\\"))) % 2:
            raise ValueError(f"{written[:20]} ends with a backslash before its quote")
        return
    for short, long in re.findall(r"\\(?:\\|u(.{4})|U(.{8}))", written):
        if digits := short or long:
            code = int(digits, 16)
            if written[0] in "bB" or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise ValueError(f"{written[:20]} has an escape for no character")
