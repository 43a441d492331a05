"""RE2's grammar, as far as it is narrower than what people write (https://github.com/google/re2/wiki/Syntax).

No parser: only what RE2 certainly refuses is reported. Python's engine judges the rest, since its grammar is wider but
for what ``_ONLY_IN_RE2`` lists.
"""

from __future__ import annotations

import re
import warnings

_NOT_IN_RE2 = re.compile(r"(?<!\\)\(\?(?:[=!#>(]|<[=!])|\\[1-9ZGKR]")
"""Look-around, comments, atomic groups, conditions, references back, and escapes."""
_POSSESSIVE = re.compile(r"[*+?}]\+")
_ESCAPE = re.compile(r"\\(?:[pPx]\{[^}]*\}|.)")
_ONLY_IN_RE2 = re.compile(r"\\[pPQCz]|\[\[:|\(\?P?<|\(\?[a-zA-Z-]+[:)]|\\x\{|\[\^?\]")
"""What RE2 has and Python has not, or reads differently."""
_ESCAPED = re.compile(r"\\\\|\[\^?\]?[^\]]*\]")
"""Escaped backslashes, and classes, in which operators are plain characters."""


def refused(regex: str) -> str:
    """Why RE2 refuses ``regex``; empty where it may take it."""
    bare = _ESCAPED.sub("a", regex)
    if found := _NOT_IN_RE2.search(bare) or _POSSESSIVE.search(_ESCAPE.sub("a", bare)):
        return f"it has no {found[0]}"
    if _ONLY_IN_RE2.search(regex):
        return ""
    try:
        compiled(regex)
    except re.error as error:
        return error.msg
    except (OverflowError, RecursionError):
        return "it is too large"
    return ""


def may_be_found(regex: str, text: str) -> bool:
    """Whether ``regex`` is found anywhere in ``text``, or may be, as Python's engine can't read it."""
    try:
        return compiled(regex).search(text) is not None
    except (re.error, OverflowError, RecursionError):
        return True


def compiled(regex: str) -> re.Pattern[str]:
    """As Python reads it, which is RE2's way for most. Raises ``re.error``, ``OverflowError``, ``RecursionError``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of "[[", which a later Python may read otherwise
        return re.compile(regex)
