"""Asks a Prometheus for the value of a query, for guards of rollouts.

Source: Prometheus documentation, "HTTP API", instant queries. Bounded in time and size (``fetch``): whoever answers is
not ours.
"""

from __future__ import annotations

import logging
from math import isfinite
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import msgspec

from extproc.errors import cause
from extproc.fetch.steps import get, run
from extproc.fetch.url import parse

log = logging.getLogger(__name__)

TIMEOUT = 2.0
"""Seconds for all of the answer."""
MAX_ANSWER = 64 << 10
"""Bytes."""


class UnusableAnswerError(Exception):
    """There is no answer, or none with exactly one number; the text says what there is."""


def ask(base: str, query: str) -> float:
    """The value of ``query`` now: a scalar, or a vector with one sample.

    ``base``: ``http://host:port`` or ``https://…``, with a path where it has one. Raises ``UnusableAnswerError``.
    """
    try:
        url = parse(f"{base}/api/v1/query?{urlencode({'query': query})}")
        status, body = run(get(url, TIMEOUT, MAX_ANSWER))
    except (OSError, ValueError) as error:
        raise UnusableAnswerError(f"{base} does not answer: {cause(error)}") from None
    if status != 200:
        raise UnusableAnswerError(f"{base} answers with status {status}")
    return _value(body)


class Question:
    """A query that is asked in a thread of its own, for whoever can't wait for the answer."""

    def __init__(self, base: str, query: str) -> None:
        """Asks at once; ``base`` and ``query`` as of ``ask``."""
        self.answered = False
        self.value: float | None = None
        self.problem = ""
        """Why there is no value."""
        Thread(target=self._ask, args=(base, query), name="query of a guard", daemon=True).start()

    def _ask(self, base: str, query: str) -> None:
        try:
            self.value = ask(base, query)
        except UnusableAnswerError as error:
            self.problem = str(error)
        except Exception as error:  # whatever it is, there is no value
            log.exception("a query could not be asked")
            self.problem = repr(error)
        self.answered = True


class _Data(msgspec.Struct):
    kind: str = msgspec.field(name="resultType")
    result: list[Any]


class _Answer(msgspec.Struct):
    data: _Data


class _Sample(msgspec.Struct):
    value: tuple[float, str]


def _value(body: bytes) -> float:
    try:
        data = msgspec.json.decode(body, type=_Answer).data
        if data.kind == "scalar":
            _, text = msgspec.convert(data.result, tuple[float, str])
        elif data.kind == "vector" and len(data.result) == 1:
            _, text = msgspec.convert(data.result[0], _Sample).value
        else:
            raise UnusableAnswerError(f"the query gives a {data.kind} of {len(data.result)}, and not one number")
        value = float(text)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnusableAnswerError(f"the answer is not Prometheus': {error}") from None
    if not isfinite(value):
        raise UnusableAnswerError(f"the value is {text}")
    return value
