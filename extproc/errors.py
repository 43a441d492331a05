"""Exception types.

Only ``exchange.route`` turns ``Rejected`` and ``Unreadable`` into actions; only ``cli`` turns ``PolicyProblems`` into
an exit status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def not_installed(error: ModuleNotFoundError, extra: str, otherwise: str = "") -> SetupError:
    """The error that says what to install where a module of the extra ``extra`` is missing.

    ``otherwise``: what else can be done, at the end of the sentence.
    """
    return SetupError(
        f"the extra {extra} is not installed ({error.name} is missing): "
        f"pip install {' '.join(requirements(extra))}{otherwise}"
    )


def requirements(extra: str) -> list[str]:
    """What the extra ``extra`` of this package installs, each quoted for a shell: packages of PyPI, which are there
    whether this package itself is or not.
    """
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("aimesh-extproc") or ()
    except PackageNotFoundError:  # run from its sources
        return [f"'.[{extra}]'"]
    split = (text.partition(";") for text in declared)
    return [f"'{name.strip()}'" for name, _, marker in split if f"'{extra}'" in marker.replace('"', "'")]


class Unreadable(Exception):  # noqa: N818
    """No model can be read from a request. It passes on unchanged, and the server answers with its own error.

    ``reason``: one of a closed set; a label's value of ``inference_unmatched_total``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Rejected(Exception):  # noqa: N818
    """A request must not go upstream. ``status``: HTTP status for the client; ``code``: code of the error;
    ``retry_after``: seconds after which the client may ask again, 0 where that is of no use.
    """

    notes: tuple[Any, ...] = ()
    """What an exchange notes of it (``exchange.notes``)."""

    def __init__(self, status: int, code: str, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Problem(msgspec.Struct, frozen=True):
    """One error or warning in a policy file: its place, what is wrong, and the remedy."""

    file: str
    line: int
    """From 1; 0 where the problem has no line (a file that can't be opened)."""
    column: int
    path: str
    """Path in the document, as in ``spec.versions[1].weight``; empty for the document as a whole."""
    message: str
    remedy: str
    warning: bool = False
    """The policy is valid, but probably not what its author intends."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f" {self.path}:" if self.path else ""
        severity = "warning" if self.warning else "error"
        return f"{place}: {severity}:{subject} {self.message}; {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON output."""
        return msgspec.structs.asdict(self)


class PolicyProblems(Exception):  # noqa: N818
    """Policy files can't be used. ``problems``: all problems found, warnings included."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def cause(error: BaseException) -> str:
    """Why something failed: of an ``OSError`` what the system says, without its number."""
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


def problem_counts(problems: Sequence[Problem]) -> str:
    """How many errors and warnings these are, in words."""
    warnings = sum(problem.warning for problem in problems)
    errors = len(problems) - warnings
    return f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"


def cannot_listen(address: str, flag: str, reason: str = "it is taken or not allowed") -> SetupError:
    """The error of whoever asked for ``address`` (``host:port``, ``unix:///path``) with ``flag``."""
    return SetupError(
        f"cannot listen on {address} ({flag}): {reason}; stop what uses it, or give another address of this "
        f"machine with {flag}"
    )


class SetupError(Exception):
    """The machine lacks something (a free port, an installed Envoy). The message says what to do."""
