"""Asks a Prometheus for the value of a query, for guards of rollouts.

Source: Prometheus documentation, "HTTP API", instant queries. Bounded in time and size: whoever answers is not ours.
"""

from __future__ import annotations

import http.client
from math import isfinite
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

TIMEOUT = 2.0
"""Seconds for connecting, and for each piece of the answer."""
MAX_ANSWER = 64 << 10
"""Bytes."""


class UnusableAnswerError(Exception):
    """There is no answer, or none with exactly one number; the text says what there is."""


def ask(base: str, query: str) -> float:
    """The value of ``query`` now: a scalar, or a vector with one sample.

    ``base``: ``http://host:port`` or ``https://…``, with a path where it has one. Raises ``UnusableAnswerError``.
    """
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"{parts.path}/api/v1/query?{urlencode({'query': query})}")
        response = connection.getresponse()
        body = response.read(MAX_ANSWER + 1)
    except (OSError, http.client.HTTPException) as error:
        raise UnusableAnswerError(f"{base} does not answer: {error}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise UnusableAnswerError(f"{base} answers with status {response.status}")
    if len(body) > MAX_ANSWER:
        raise UnusableAnswerError(f"the answer has more than {MAX_ANSWER >> 10} KiB")
    return _value(body)


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
