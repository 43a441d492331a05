"""Picks one endpoint of a target: of those that may have the request the one with the least score.

``prefix`` is LMetric's product (Zhang et al., "LMetric: Simple is Better", arXiv 2603.15202): what has to be read, of
this prompt and of those that wait before it, times the requests that are worked on. A factor that is common to all
endpoints changes no order, so bytes are as good as tokens.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left

from extproc.picking import candidates as values
from extproc.picking.candidates import Candidates, EndpointScore, Pick, Refusal, Request, both
from extproc.picking.loads import EndpointLoads, unknown
from extproc.picking.prefix_index import PrefixIndex
from extproc.picking.prompt import FIRST_MARK, Prompt, block_ends
from extproc.picking.standing import Standing
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
_EXPECTED = 0.8
"""Share of the bytes of a mark that its home is expected to have cached: less than what is known to be there."""
_POINTS = struct.Struct("<16I")
"""Of an endpoint on the ring of homes: the digest of its address."""
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
        self._loads = unknown(0)
        self._candidates = Candidates(())
        self._keep(self._candidates)
        self._standing = Standing(spec, self._candidates, self._loads, 0.0)

    def pick(self, candidates: Candidates, loads: EndpointLoads, request: Request, entropy: bytes) -> Pick | Refusal:
        """``loads``: in the order of the candidates. ``entropy``: 8 random bytes, by which lots are drawn. Raises
        ``ValueError`` for loads of another number of endpoints.
        """
        standing = self._stand(candidates, loads)
        saturated, may = standing.all_saturated, standing.ready
        if not standing.places:
            return Refusal(503, values.NOT_READY)
        yields = request.priority < 0 or request.waits
        if request.hinted:
            may = both(may, request.hinted)
            if 1 not in may:
                return Refusal(503, values.NOT_HINTED)
            saturated = yields and 0 not in [standing.saturated[place] for place in standing.places if may[place]]
        if saturated and yields:
            return Refusal(429, values.SATURATED, RETRY_AFTER)
        lot, matches, by = int.from_bytes(entropy[:8], "big"), [], self.spec.by
        if by == PREFIX:
            matches = self._index.match(request.prompt.blocks)
            cached = [(self._set(endpoints), self._ends[depth]) for endpoints, depth in matches]
            # However much of a prompt a server has cached, it reads the end of it anew.
            full = float(request.prompt.size + self.spec.block_bytes)
            best = standing.best(may, full, cached, self._homes(request.prompt), request.adapter, lot)
        elif by == ROUND_ROBIN:
            best = self._in_turn(may)
        elif by == RANDOM_TWO:
            best = _better_of_two(standing, may, lot)
        elif by == SESSION and request.key:
            best = self._of_session(request.key, may)
        else:
            best = standing.best(may, 0.0, (), (), request.adapter, lot)
        addresses, place = candidates.addresses, best[0]
        return Pick(
            addresses[place],
            tuple([addresses[other] for other in best[1:]]),
            self._matched(place, matches) if matches else 0,
        )

    def take(self, spec: Picking) -> bool:
        """Goes on with these fields of the policy, if what is known of prompts holds with them too; whether it does."""
        mine = self.spec
        if (spec.by, spec.block_bytes, spec.index_blocks) != (mine.by, mine.block_bytes, mine.index_blocks):
            return False
        self.spec, self._loads = spec, unknown(0)  # so that the next pick weighs the endpoints anew
        return True

    def sent(self, endpoint: str, prompt: Prompt, matched: int) -> None:
        """The endpoint got the request. ``matched``: as the pick says."""
        unread = prompt.size - matched
        self._usual += (unread - self._usual) / _MEMORY
        self._index.add(endpoint, prompt.blocks, bisect_left(self._ends, matched))
        place = self._place_of.get(endpoint)
        if place is not None:
            self._standing.sent(place, unread)

    def explain(self, candidates: Candidates, loads: EndpointLoads, request: Request) -> list[EndpointScore]:
        """How each endpoint stands for this request, in the order of the candidates."""
        standing, by_prefix = self._stand(candidates, loads), self.spec.by == PREFIX
        full = float(request.prompt.size + self.spec.block_bytes) if by_prefix else 0.0
        matches = self._index.match(request.prompt.blocks) if by_prefix else []
        homes = dict(self._homes(request.prompt)) if by_prefix else {}  # of several the last, which is the longest
        weights, rows = standing.weights_for(request.adapter), []
        for place, address in enumerate(candidates.addresses):
            matched = self._matched(place, matches)
            expected = homes.get(place, 0.0)
            score = standing.score(place, full, max(matched, expected), weights[place])
            ready, hinted = standing.ready[place], not request.hinted or request.hinted[place]
            why_not = values.NOT_READY if not ready else "" if hinted else values.NOT_HINTED
            known, saturated = bool(standing.known[place]), bool(standing.saturated[place])
            told = None if why_not else score
            batch = standing.batch[place]
            rows.append(EndpointScore(address, told, why_not, batch, known, matched, expected, saturated))
        return rows

    def _stand(self, candidates: Candidates, loads: EndpointLoads) -> Standing:
        if candidates is self._candidates and loads is self._loads:
            return self._standing
        standing = Standing(self.spec, candidates, loads, self._usual)
        if candidates.addresses != self._candidates.addresses:
            self._keep(candidates)
        elif loads.at is not None and self._loads.at is not None:
            standing.follow(self._standing, loads.at - self._loads.at)
        self._candidates, self._loads, self._standing = candidates, loads, standing
        return standing

    def _keep(self, candidates: Candidates) -> None:
        """The endpoints are others; what was found out of those that are gone is forgotten."""
        addresses = candidates.addresses
        self._index.keep(addresses)
        self._place_of = {address: place for place, address in enumerate(addresses)}
        entries = [(address, 1.0, place) for place, address in enumerate(addresses)]
        digests = [hashlib.blake2b(address.encode()).digest() for address in addresses]
        ring = sorted((point, place) for place, digest in enumerate(digests) for point in _POINTS.unpack(digest))
        self._ring, self._on_ring = [point for point, _ in ring], [place for _, place in ring]
        self._by_session = RendezvousHash(f"{self._cluster}\0endpoint", entries)
        self._sessions: dict[bytes, list[int]] = {}
        self._sets: dict[int, list[int]] = {}

    def _set(self, endpoints: int) -> list[int]:
        """The places of a set of the index."""
        found = self._sets.get(endpoints)
        if found is None:
            if len(self._sets) >= _KEPT:
                self._sets.clear()
            found = self._sets[endpoints] = self._index.places(endpoints)
        return found

    def _homes(self, prompt: Prompt) -> list[tuple[int, float]]:
        """Where the prompt's beginnings are expected to be cached, though this process may not have sent them there: by
        consistent hashing (Karger et al., STOC 1997), so that all processes expect them at the same places.
        """
        homes, expected = [], _EXPECTED * FIRST_MARK
        for mark in prompt.marks if self._ring else ():
            homes.append((self._on_ring[bisect_left(self._ring, mark) % len(self._ring)], expected))
            expected *= 2
        return homes

    def _matched(self, place: int, matches: list[tuple[int, int]]) -> int:
        bit = self._index.bit(place)
        for endpoints, depth in matches:
            if endpoints & bit:
                return self._ends[depth]
        return 0

    def _in_turn(self, may: bytes) -> list[int]:
        size = len(may)
        best = []
        for number in range(self._turn, self._turn + size):
            if may[number % size]:
                best.append(number % size)
                if len(best) == 1 + FALLBACKS:
                    break
        self._turn = best[0] + 1
        return best

    def _of_session(self, key: bytes, may: bytes) -> list[int]:
        """The endpoints that a session belongs to, as ``policy.session_tag.server_of`` has them."""
        digest = hashlib.blake2b(key, digest_size=16).digest()  # keys are as long as clients write them
        first = self._sessions.get(digest)
        if first is None:
            if len(self._sessions) >= _KEPT:
                self._sessions.clear()
            first = self._sessions[digest] = self._by_session.ranked(key)[:_FIRST]
        found = [place for place in first if may[place]]
        return (found or [place for place in self._by_session.ranked(key) if may[place]])[: 1 + FALLBACKS]


def _better_of_two(standing: Standing, may: bytes, lot: int) -> list[int]:
    """Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001."""
    places = [place for place in standing.places if may[place]]
    count = len(places)
    lot, at = divmod(lot, count)
    first = places[at]
    if count == 1:
        return [first]
    second = places[(at + 1 + lot % (count - 1)) % count]
    loads = [standing.score(place, 0.0, 0.0, 1.0) for place in (first, second)]
    return [first, second] if loads[0] <= loads[1] else [second, first]
