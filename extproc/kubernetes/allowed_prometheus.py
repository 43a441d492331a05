"""The Prometheus servers that policies of a cluster may have asked for their guards: those that the controller's
operator has named, and no others, since the controller can reach what writers of policies can't.
"""

from __future__ import annotations

from collections.abc import Iterable

from extproc.fetch import prometheus_query
from extproc.fetch.url import Url, parse
from extproc.rollout.looks import Question

MAX_SHOWN = 200
"""Characters of a URL that nobody has allowed."""


class Refusal:
    """Stands for a question that was not asked."""

    answered = True
    value: float | None = None

    def __init__(self, problem: str) -> None:
        self.problem = problem


class AllowedPrometheus:
    """Base URLs that may be asked."""

    def __init__(self, bases: Iterable[str] = ()) -> None:
        """``bases``: as policies write them. Raises ``ValueError``."""
        self._allowed = {_place(base): base for base in bases}

    def ask(self, base: str, query: str) -> Question:
        """Asks the Prometheus at ``base``, if it may be: as it was named, since ``prometheus.dev`` is a Service, and
        ``prometheus.dev.`` somebody else's server.
        """
        try:
            named = self._allowed.get(_place(base))
        except ValueError:
            named = None
        if named is not None:
            return prometheus_query.Question(named.rstrip("/"), query)
        return Refusal(f"{base[:MAX_SHOWN]} is no Prometheus that the controller may ask (its --prometheus)")


def _place(base: str) -> Url:
    """The same for every way to write one base URL. Raises ``ValueError``."""
    url = parse(base)
    if "?" in base or "#" in base:
        raise ValueError("it has a query, or what follows #")
    return url._replace(host=url.host.lower().removesuffix("."), target=url.target.rstrip("/"), authority="")
