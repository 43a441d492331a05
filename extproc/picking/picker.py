"""Picks one endpoint of a target: of those that may have the request the one with the least score.

``prefix`` is LMetric's product (Zhang et al., "LMetric: Simple is Better", arXiv 2603.15202): what has to be read, of
this prompt and of those that wait before it, times the requests that are worked on. A factor that is common to all
endpoints changes no order, so bytes are as good as tokens.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from extproc.picking import candidates as values
from extproc.picking.candidates import Candidates, EndpointScore, Pick, Refusal, Request
from extproc.picking.loads import EndpointLoads, unknown
from extproc.picking.prefix_index import PrefixIndex
from extproc.picking.prompt import Prompt, block_ends
from extproc.picking.standing import Standing, flags, lots
from extproc.policy.picking import PREFIX, RANDOM_TWO, ROUND_ROBIN, SESSION, Picking
from extproc.policy.rendezvous import RendezvousHash

FALLBACKS = 2
"""Endpoints told beside the best one."""
RETRY_AFTER = 1
"""Seconds after which to ask again for what was refused because all endpoints are saturated."""
_MEMORY = 32.0
"""Requests over which it is averaged how much of a prompt has to be read."""
_KEPT = 4096
"""Sessions, and sets of endpoints, of which it is remembered what was found out."""
_FIRST = 8
"""Endpoints that are remembered of a session's."""


class Picker:
    """Picks among the endpoints of one target. Used by one thread.

    The same calls in the same order give the same picks, wherever the hashes of prompts are the same (``prompt``).
    """

    def __init__(self, cluster: str, spec: Picking) -> None:
        """``cluster``: the target's (``policy.target.Target.cluster``), by which sessions are spread."""
        self.spec = spec
        self._cluster = cluster
        self._index = PrefixIndex(spec.index_blocks)
        self._ends = (0, *block_ends(spec.block_bytes))
        self._usual = float(spec.block_bytes)
        """Bytes of a prompt that are in no cache, on the average of the last requests."""
        self._turn = 0
        self._zone = ""
        self._loads = unknown(0)
        self._candidates = Candidates(())
        self._keep(self._candidates)
        self._standing = Standing(spec, self._candidates, self._loads, "", 0.0)

    def pick(self, candidates: Candidates, loads: EndpointLoads, request: Request, entropy: bytes) -> Pick | Refusal:
        """``loads``: in the order of the candidates. ``entropy``: 8 random bytes, by which lots are drawn. Raises
        ``ValueError`` for loads of another number of endpoints.
        """
        standing = self._stand(candidates, loads, request.zone)
        saturated, hinted = standing.all_saturated, None
        if not standing.open_places:
            return Refusal(503, values.NOT_READY)
        if request.hinted:
            hinted = flags(request.hinted) & standing.open
            if not hinted.any():
                return Refusal(503, values.NOT_HINTED)
            saturated = bool(standing.saturated[hinted].all())
        if saturated and request.priority < 0:
            return Refusal(429, values.SATURATED, RETRY_AFTER)
        places, matched = self._best(standing, request, hinted, int.from_bytes(entropy[:8], "big"))
        addresses = candidates.addresses
        return Pick(addresses[places[0]], tuple([addresses[place] for place in places[1:]]), matched, saturated)

    def sent(self, endpoint: str, prompt: Prompt, matched: int) -> None:
        """The endpoint got the request. ``matched``: as the pick says."""
        unread = prompt.size - matched
        self._usual += (unread - self._usual) / _MEMORY
        self._index.add(endpoint, prompt.blocks)
        place = self._place_of.get(endpoint)
        if place is not None:
            self._standing.sent(place, unread)

    def explain(self, candidates: Candidates, loads: EndpointLoads, request: Request) -> list[EndpointScore]:
        """How each endpoint stands for this request, in the order of the candidates."""
        standing = self._stand(candidates, loads, request.zone)
        hinted = flags(request.hinted) if request.hinted else standing.open
        matches = self._index.match(request.prompt.blocks)
        scores = self._scores(standing, request, matches)
        rows = []
        for place, address in enumerate(candidates.addresses):
            why_not = values.NOT_READY if not standing.open[place] else "" if hinted[place] else values.NOT_HINTED
            rows.append(
                EndpointScore(
                    address,
                    None if why_not else float(scores[place]),
                    why_not,
                    float(standing.batch[place]),
                    bool(standing.known[place]),
                    self._matched(place, matches),
                    bool(standing.saturated[place]),
                )
            )
        return rows

    def _stand(self, candidates: Candidates, loads: EndpointLoads, zone: str) -> Standing:
        if candidates is not self._candidates:
            if candidates.addresses != self._candidates.addresses:
                self._keep(candidates)
            self._candidates = candidates
        elif loads is self._loads and zone == self._zone:
            return self._standing
        self._loads, self._zone = loads, zone
        self._standing = Standing(self.spec, candidates, loads, zone, self._usual)
        return self._standing

    def _keep(self, candidates: Candidates) -> None:
        """The endpoints are others; what was found out of those that are gone is forgotten."""
        addresses = candidates.addresses
        self._index.keep(addresses)
        self._place_of = {address: place for place, address in enumerate(addresses)}
        entries = [(address, 1.0, place) for place, address in enumerate(addresses)]
        self._by_session = RendezvousHash(f"{self._cluster}\0endpoint", entries)
        self._sessions: dict[bytes, list[int]] = {}
        self._sets: dict[int, int | NDArray[np.intp]] = {}

    def _best(
        self, standing: Standing, request: Request, hinted: NDArray[np.bool_] | None, lot: int
    ) -> tuple[list[int], int]:
        """The places of the best endpoint and of those to try after it; the bytes that the best has cached."""
        by = self.spec.by
        if by in (ROUND_ROBIN, RANDOM_TWO) or (by == SESSION and request.key):
            open_places = standing.open_places if hinted is None else hinted.nonzero()[0].tolist()
            if by == ROUND_ROBIN:
                return self._in_turn(open_places), 0
            if by == RANDOM_TWO:
                return _better_of_two(open_places, standing.load, lot), 0
            return self._of_session(request.key, open_places), 0
        matches = self._index.match(request.prompt.blocks) if by == PREFIX else []
        scores = self._scores(standing, request, matches)
        if hinted is not None:
            scores[~hinted] = np.inf
        scores *= lots(lot, len(scores))
        if hinted is not None:
            best: list[int] = scores.argsort()[: min(1 + FALLBACKS, int(hinted.sum()))].tolist()
        else:
            first = int(scores.argmin())
            best = [first, *[place for place in standing.spare(lot) if place != first][:FALLBACKS]]
        return best, self._matched(best[0], matches)

    def _scores(self, standing: Standing, request: Request, matches: list[tuple[int, int]]) -> NDArray[np.float64]:
        """Of each endpoint; infinite where it may have no request. ``matches``: prefixes that are cached, and where."""
        load = standing.load
        factors = standing.without_adapter(request.adapter) if request.adapter else None
        if factors is not None:
            load = load * factors
        if self.spec.by != PREFIX:
            return load.copy() if factors is None else load
        # However much of a prompt a server has cached, it reads the end of it anew.
        scores: NDArray[np.float64] = standing.unread + (request.prompt.size + self.spec.block_bytes)
        for endpoints, depth in matches:
            scores[self._set(endpoints)] -= self._ends[depth]
        scores *= load
        return scores

    def _set(self, endpoints: int) -> int | NDArray[np.intp]:
        """The places of a set of the index."""
        found = self._sets.get(endpoints)
        if found is None:
            if len(self._sets) >= _KEPT:
                self._sets.clear()
            places = self._index.places(endpoints)
            found = self._sets[endpoints] = places[0] if len(places) == 1 else np.array(places, np.intp)
        return found

    def _matched(self, place: int, matches: list[tuple[int, int]]) -> int:
        bit = self._index.bit(place)
        return self._ends[next((depth for endpoints, depth in matches if endpoints & bit), 0)]

    def _in_turn(self, open_places: list[int]) -> list[int]:
        at, count = bisect_left(open_places, self._turn), len(open_places)
        self._turn = open_places[at % count] + 1
        return [open_places[(at + number) % count] for number in range(min(1 + FALLBACKS, count))]

    def _of_session(self, key: bytes, open_places: list[int]) -> list[int]:
        """The endpoints that a session belongs to, as ``policy.session_tag.server_of`` has them."""
        first = self._sessions.get(key)
        if first is None:
            if len(self._sessions) >= _KEPT:
                self._sessions.clear()
            first = self._sessions[key] = self._by_session.ranked(key)[:_FIRST]
        may = set(open_places)
        found = [place for place in first if place in may]
        return (found or [place for place in self._by_session.ranked(key) if place in may])[: 1 + FALLBACKS]


def _better_of_two(open_places: list[int], load: NDArray[np.float64], lot: int) -> list[int]:
    """Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001."""
    count = len(open_places)
    lot, at = divmod(lot, count)
    first = open_places[at]
    if count == 1:
        return [first]
    second = open_places[(at + 1 + lot % (count - 1)) % count]
    return [first, second] if load[first] <= load[second] else [second, first]
