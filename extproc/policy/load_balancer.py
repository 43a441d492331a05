"""How the requests of a version on a GPU pool are spread over its servers."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import msgspec

Word: TypeAlias = Literal["leastRequest", "roundRobin", "random"]
WORDS: tuple[Word, ...] = get_args(Word)
CONSISTENT_HASH: Final = "consistentHash"


class LoadBalancer(msgspec.Struct, frozen=True):
    """The way in which a proxy chooses a server. A server that the processor names goes before it."""

    by: Literal[Word, "consistentHash"] = "leastRequest"
    header: str = ""
    """Of ``consistentHash``, in lower case: requests with the same value get the same server."""

    def __str__(self) -> str:
        return f"{self.by} {self.header}" if self.header else self.by


LEAST_REQUEST = LoadBalancer()
