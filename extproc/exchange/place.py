"""The endpoints of one target, and which of them may have a request."""

from __future__ import annotations

from operator import and_

from extproc.exchange.endpoint_breakers import EndpointBreakers
from extproc.picking.candidates import Candidates, both
from extproc.picking.picker import Picker

NOBODY: frozenset[str] = frozenset()


class Place:
    """One target, or its servers for gRPC."""

    __slots__ = ("_all", "_preferred", "_ready", "_without", "addresses", "cluster", "limits", "picker")

    def __init__(self, cluster: str, addresses: tuple[str, ...], picker: Picker) -> None:
        self.cluster, self.addresses, self.picker = cluster, addresses, picker
        self.limits: EndpointBreakers | None = None
        """The circuit breakers of the endpoints; None where they have none."""
        self._all = self._ready = self._preferred = Candidates(addresses)
        self._without = NOBODY, NOBODY

    def candidates(self, unreachable: frozenset[str], avoided: frozenset[str], hinted: bytes) -> Candidates:
        """The endpoints, without those that are unreachable and, if others are left, that are to be avoided: the same
        object while the two are. ``hinted``: as the method of this name gives it.
        """
        if unreachable is not self._without[0] or avoided is not self._without[1]:
            self._without = unreachable, avoided
            self._ready = self._but_for(unreachable)
            self._preferred = self._but_for(unreachable | avoided)
        ready = self._preferred.ready
        if ready and not any(map(and_, ready, hinted) if hinted else ready):
            return self._ready
        return self._preferred

    def with_room(self, hinted: bytes) -> bytes:
        """The marks of ``hinted`` without those endpoints whose circuit breakers take no request, as long as others are
        left that can be reached: by the last ``candidates``.
        """
        ready = self._ready.ready
        takes = b"" if self.limits is None else self.limits.marks(self.addresses)
        if not takes:
            return hinted
        found = both(hinted, takes) if hinted else takes
        return found if 1 in (both(found, ready) if ready else found) else hinted

    def _but_for(self, those: frozenset[str]) -> Candidates:
        ready = bytes(address not in those for address in self.addresses)
        return Candidates(self.addresses, ready) if 0 in ready else self._all

    def hinted(self, subset: tuple[str, ...] | None) -> bytes:
        """A mark for each endpoint, 0 where the proxy's subset rules it out; empty: it has none."""
        if subset is None:
            return b""
        allowed = frozenset(subset)
        return bytes(a in allowed or a.rpartition(":")[0].strip("[]") in allowed for a in self.addresses)
