"""RE2's grammar, as far as it is narrower than what people write.

No parser: what is certainly refused is told, and anything else may be. Python's engine judges the rest, for its grammar
is wider but for what ``_ITS_OWN`` lists.
"""

from __future__ import annotations

import re

_LACKS = re.compile(r"\(\?(?:[=!#>(]|<[=!])|\\[1-9ZGKR]")
"""Look-around, comments, atomic groups, conditions, references back, and escapes."""
_POSSESSIVE = re.compile(r"[*+?}]\+")
_ITS_OWN = re.compile(r"\\[pPQCz]|\[\[:|\(\?P?<|\(\?[a-zA-Z-]+[:)]|\\x\{|\[\^?\]")
"""What RE2 has and Python has not, or reads otherwise."""
_ESCAPED = re.compile(r"\\\\|\[\^?\]?[^\]]*\]")
"""Backslashes that stand for themselves, and classes: operators mean nothing there."""


def refused(regex: str) -> str:
    """Why RE2 refuses ``regex``; empty where it may take it."""
    bare = _ESCAPED.sub("a", regex)
    if found := _LACKS.search(bare) or _POSSESSIVE.search(re.sub(r"\\.", "a", bare)):
        return f"it has no {found[0]}"
    if _ITS_OWN.search(regex):
        return ""
    try:
        re.compile(regex)
    except re.error as error:
        return error.msg
    except (OverflowError, RecursionError):
        return "it is too large"
    return ""
