"""Names of the contract's headers, and an immutable multimap of HTTP headers.

Names are lower case. Values are bytes as received, since they need not be text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MODEL_NAME = "x-model-name"
MODEL_VERSION = "x-model-version"
GPU_POOL = "x-gpu-pool"
GPU_ARCHITECTURE = "x-gpu-architecture"
MODEL_COHORT = "x-model-cohort"
"""``fallback`` where the version that was decided first had no room; else it is not there."""
DESTINATION_ENDPOINT = "x-gateway-destination-endpoint"
DESTINATION_SUBSET, DESTINATION_SERVED = f"{DESTINATION_ENDPOINT}-subset", f"{DESTINATION_ENDPOINT}-served"
"""Keys of the Endpoint Picker Protocol's metadata: which servers may be picked, and which one has answered."""
OBJECTIVE = "x-gateway-inference-objective"
"""The client's word for how urgent a request is (Gateway API Inference Extension)."""
FAIRNESS_ID = "x-gateway-inference-fairness-id"
"""Whose request it is, by the client's word: those that wait take turns by it (same source)."""
LINKERD_CLIENT = "l5d-client-id"
"""The authenticated client, set by Linkerd's inbound proxy, which removes any value that a client sends."""

ROUTING = (MODEL_NAME, MODEL_VERSION, GPU_POOL, GPU_ARCHITECTURE, MODEL_COHORT, DESTINATION_ENDPOINT)
"""Headers that decide where a request goes. A client's values are dropped, except for an allowed version pin."""
DROPPED = (*ROUTING, DESTINATION_SUBSET, DESTINATION_SERVED)
"""Those, and what decides nothing as a header, but might be taken for the proxy's word by whoever gets it."""


class Headers:
    """Immutable pairs of (name, value) in the order received; a name may occur more than once."""

    __slots__ = ("_first", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, bytes]] | dict[str, bytes] = ()) -> None:
        """``pairs``: with names in lower case, as Envoy sends them; see ``of`` for names in any case. A dictionary is
        not copied: the caller must not change it afterwards.
        """
        self._first: dict[str, bytes]
        self._pairs: tuple[tuple[str, bytes], ...] | None
        if isinstance(pairs, dict):
            self._pairs, self._first = None, pairs
        else:
            self._pairs = tuple(pairs)
            # Reversed, so that the first of several values is kept.
            self._first = dict(self._pairs[::-1])

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str | bytes]]) -> Headers:
        """From names in any case and values as text or bytes."""
        return cls((name.lower(), v if isinstance(v, bytes) else v.encode()) for name, v in pairs)

    @property
    def pairs(self) -> tuple[tuple[str, bytes], ...]:
        """All pairs, in order."""
        if self._pairs is None:
            self._pairs = tuple(self._first.items())
        return self._pairs

    def get(self, name: str) -> bytes | None:
        """The first value of ``name``, or None."""
        return self._first.get(name)

    def text(self, name: str) -> str:
        """The first value of ``name`` as text, read as Latin-1; empty where there is none."""
        value = self._first.get(name, b"")
        return value.decode("latin-1")

    def all(self, name: str) -> list[bytes]:
        """Every value of ``name``, in order."""
        return [v for n, v in self.pairs if n == name] if name in self._first else []

    def has_none_of(self, names: frozenset[str]) -> bool:
        """Whether there is no header with one of ``names``."""
        return names.isdisjoint(self._first)

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"


def safe_value(text: str) -> str:
    """``text`` as a header value that every HTTP implementation passes on unchanged.

    Visible ASCII but ``%`` stays; every other character becomes the percent-encoded bytes of its UTF-8 form
    (RFC 3986 §2.1), so ``urllib.parse.unquote`` gives the text back (lone surrogates only with
    ``errors="surrogatepass"``).
    """
    if text.isascii() and text.isprintable() and " " not in text and "%" not in text:
        return text
    return "".join(
        chr(b) if 0x21 <= b <= 0x7E and b != 0x25 else f"%{b:02X}" for b in text.encode("utf-8", "surrogatepass")
    )
