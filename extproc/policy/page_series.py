"""Lines of metrics pages in Prometheus' text format: those of some metrics, whatever else is on the page.

Pages are not trusted: reading takes time in proportion to their bytes, however they are made.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from itertools import islice
from typing import NamedTuple

MAX_SERIES = 1000
"""Series of the metrics that are looked for; of a page with more nothing is known."""
MAX_NUMBER, _MAX_DIGITS = 1e9, 64
"""Numbers are below it, and have so many characters at most."""
_MAX_TIME = 1e12
_LABEL = re.compile(rb'(?<!\w)([a-zA-Z_]\w*+)="([^"\\]*+(?:\\.[^"\\]*+)*+)"')


class Series(NamedTuple):
    """A line."""

    name: bytes
    labels: bytes
    value: float
    start: int = 0
    value_at: int = 0
    end: int = 0
    """Where it stands, behind the end of a line, and where its value does."""

    @property
    def by_label(self) -> dict[bytes, bytes]:
        """The values of its labels."""
        return dict(_LABEL.findall(self.labels))


def lines_of(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Lines of these metrics: name, labels and value. A label's value may have a brace, so labels end at the last."""
    return re.compile(rb"\n(%s)(?:\{([^\n]*)\}| )[ \t]*(\S*)" % b"|".join(map(re.escape, dict.fromkeys(names))))


def find_series(lines: re.Pattern[bytes], page: bytes, times: Container[bytes] = ()) -> list[Series]:
    """The series of a page; none where there are more than ``MAX_SERIES``. ``times``: metrics whose values are times,
    in seconds since 1970.
    """
    matches = list(islice(lines.finditer(b"\n" + page), MAX_SERIES + 1))
    if len(matches) > MAX_SERIES:
        return []
    return [
        Series(match[1], match[2] or b"", number, match.start(), match.start(3), match.end())
        for match in matches
        if (number := parse_number(match[3], _MAX_TIME if match[1] in times else MAX_NUMBER)) is not None
    ]


def parse_number(text: bytes, below: float = MAX_NUMBER) -> float | None:
    """The number, if it is from 0 to ``below`` (no NaN)."""
    try:
        value = float(text if len(text) <= _MAX_DIGITS else b"")
    except ValueError:
        return None
    return value if 0 <= value < below else None


def share(value: float | None) -> float | None:
    """The number, if it is from 0 to 1."""
    return value if value is not None and 0 <= value <= 1 else None
