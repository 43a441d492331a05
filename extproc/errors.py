"""What can go wrong, as types.

Everything below the shell raises one of these; ``stream`` alone turns ``Rejected`` and ``Unreadable`` into
actions, ``cli`` alone turns ``PolicyProblems`` into an exit status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Unreadable(Exception):  # noqa: N818 - named for what is so, not for what to do
    """A request from which no model can be read. It passes on untouched, since the server gives its own error.

    ``reason`` is a word of a closed set (it becomes the label of ``inference_unmatched_total``).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Rejected(Exception):  # noqa: N818
    """A request that must not go upstream. ``status``: the HTTP status for the client; ``code``: our word for it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong in a policy file: where it is, what it is, what to do."""

    file: str
    line: int
    """1-based; 0 where the problem has no line (a file that can't be opened)."""
    column: int
    path: str
    """Where in the document, as in ``spec.versions[1].weight``; empty for the document as a whole."""
    message: str
    remedy: str
    warning: bool = False
    """The policy works, but probably not as its author means it."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f" {self.path}:" if self.path else ""
        severity = "warning" if self.warning else "error"
        return f"{place}: {severity}:{subject} {self.message}; {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON output."""
        return msgspec.structs.asdict(self)


class PolicyProblems(Exception):  # noqa: N818
    """Policy files that can't be used. ``problems`` holds every problem that was found, warnings included."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class SetupError(Exception):
    """The machine does not allow what was asked (a port is taken, Envoy is not installed), and what to do."""
