"""A simulated server, in the manner of vLLM: continuous batching, prompts in pieces, a cache of prefixes.

By vLLM's documents and defaults (docs.vllm.ai: "Optimization and Tuning", "Automatic Prefix Caching", engine
arguments): a step computes at most 8192 tokens, first one for each answer, then pieces of prompts in the order in which
they came; at most 256 requests run; blocks of 16 tokens; a block that nobody uses is kept until its place is needed,
that which was not used for the longest time goes first, of one prompt its end. Unlike vLLM it takes the blocks of the
whole answer when it begins, so that nothing is ever begun twice; and a prompt's blocks count as cached from when it is
begun.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from heapq import heappop, heappush
from itertools import chain

import msgspec

from benchmarks.picking.gpus import Gpu

BLOCK = 16
"""Tokens."""
MOST_TOKENS = 8192
MOST_RUNNING = 256
ADAPTERS = 4
"""That fit into the memory at a time (``max_loras``) …"""
LOADING = 0.1
"""… and the seconds for which the engine stands still to load another one: no measurement, of the order of reports."""


class Job(msgspec.Struct, eq=False):
    """One request, and what became of it. Times are seconds of the simulation."""

    came: float
    blocks: tuple[int, ...]
    """Of the prompt, whole ones: each tells of all that is before it."""
    prompt: int
    """Tokens."""
    answer: int
    """Tokens."""
    adapter: str = ""
    all_blocks: tuple[int, ...] = ()
    """Of prompt and answer: what the server has cached in the end."""
    first: float = -1.0
    """When the first token came."""
    ended: float = -1.0
    cached: int = 0
    """Tokens of the prompt that were cached."""
    done: int = 0
    """Tokens of the prompt that are computed."""


class Server:
    """One engine. Whoever simulates asks how long the next steps take, and says when they are over: several, where all
    that happens is that answers get longer. A request that comes meanwhile joins after the step that is under way.
    """

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self._waiting: deque[Job] = deque()
        self._without_place: list[Job] = []
        """Those that came before them and wait until an adapter is used by nobody."""
        self.adapters: OrderedDict[str, int] = OrderedDict()
        """Loaded ones, and how many running requests use each; that which was not used for the longest time first."""
        self.begun: list[Job] = []
        """Requests whose first token came with the last step."""
        self._reading: deque[Job] = deque()
        """Requests whose prompts are not computed yet."""
        self._writing: list[tuple[int, int, Job]] = []
        """The others: (number of the step that ends it, order, request)."""
        self._steps, self._order, self._context = 0, 0, 0
        self._capacity = gpu.cached_tokens // BLOCK
        self._taken = 0
        """Blocks in use."""
        self._used: dict[int, int] = {}
        """Of blocks that may be shared, how many requests use each: of a prompt's none more than the one before."""
        self._kept: OrderedDict[int, None] = OrderedDict()
        """Blocks that nobody uses. None is there without those before it in its prompt."""
        self._pieces: list[tuple[Job, int]] = []
        self._planned, self._first_step, self._longer = 1, 0.0, 0.0
        """Steps that are under way, the seconds of the first, and by how much each is longer than the one before."""

    def add(self, job: Job) -> None:
        """A request has come."""
        self._waiting.append(job)

    @property
    def waiting(self) -> int:
        """Requests that are not in the batch yet."""
        return len(self._waiting) + len(self._without_place)

    @property
    def told_adapters(self) -> tuple[frozenset[str], frozenset[str]]:
        """Of requests in the batch, and of those that wait: vLLM does not tell of loaded ones that nobody uses."""
        running = frozenset(adapter for adapter, users in self.adapters.items() if users)
        return running, frozenset(job.adapter for job in chain(self._without_place, self._waiting) if job.adapter)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._reading) + len(self._writing)

    @property
    def cache(self) -> float:
        """Share of the blocks in use."""
        return self._taken / self._capacity

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.waiting or self.running)

    def begin(self) -> float:
        """Begins steps; their seconds."""
        budget = MOST_TOKENS - len(self._writing)
        pieces: list[tuple[Job, int]] = []
        for job in self._reading:
            if not budget:
                break
            tokens = min(budget, job.prompt - job.done)
            pieces.append((job, tokens))
            budget -= tokens
        loading = 0.0
        while budget and self._waiting and self.running < MOST_RUNNING:
            job = self._waiting.popleft()
            if not self._has_place_for(job.adapter):
                self._without_place.append(job)
                continue
            if not self._take_blocks(job):
                self._waiting.appendleft(job)
                break
            loading += self._load(job.adapter)
            self._reading.append(job)
            tokens = min(budget, job.prompt - job.done)
            pieces.append((job, tokens))
            budget -= tokens
        self._pieces = pieces
        computed = sum(tokens for _, tokens in pieces)
        attended = sum(tokens * (job.done + tokens / 2) for job, tokens in pieces)
        writing = len(self._writing)
        self._first_step = loading + self.gpu.step(computed + writing, attended, self._context)
        self._planned = 1
        if not pieces:
            self._planned = self._writing[0][0] - self._steps
            self._longer = self.gpu.step(writing, 0, self._context + writing) - self._first_step
        return self._seconds_of(self._planned)

    def join(self, seconds: float) -> float:
        """A request has come so many seconds after steps began. The seconds after which it is looked at."""
        begun = bisect_left(range(1, self._planned), seconds, key=self._seconds_of)
        self._planned = begun + 1
        return self._seconds_of(self._planned)

    def _seconds_of(self, steps: int) -> float:
        return steps * self._first_step + self._longer * steps * (steps - 1) / 2

    def end(self, now: float) -> list[Job]:
        """The steps are over; the requests that ended with the last one."""
        self._steps += self._planned
        self._context += self._planned * len(self._writing)
        self.begun, ended = [], []
        while self._writing and self._writing[0][0] <= self._steps:
            _, _, job = heappop(self._writing)
            self._context -= job.prompt + job.answer - 1
            ended.append(job)
        for job, tokens in self._pieces:
            job.done += tokens
            if job.done < job.prompt:
                continue
            self._reading.remove(job)
            job.first = now
            self.begun.append(job)
            if job.answer == 1:
                ended.append(job)
                continue
            self._order += 1
            heappush(self._writing, (self._steps + job.answer - 1, self._order, job))
            self._context += job.prompt
        for job in ended:
            job.ended = now
            self._leave(job)
        return ended

    def _has_place_for(self, adapter: str) -> bool:
        return (
            not adapter or adapter in self.adapters or len(self.adapters) < ADAPTERS or not all(self.adapters.values())
        )

    def _load(self, adapter: str) -> float:
        """Seconds until the adapter is there."""
        if not adapter:
            return 0.0
        loaded = adapter in self.adapters
        if not loaded and len(self.adapters) == ADAPTERS:
            del self.adapters[next(name for name, users in self.adapters.items() if not users)]
        self.adapters[adapter] = self.adapters.get(adapter, 0) + 1
        self.adapters.move_to_end(adapter)
        return 0.0 if loaded else LOADING

    def _take_blocks(self, job: Job) -> bool:
        """Whether there were enough."""
        blocks, used, kept = job.blocks, self._used, self._kept
        in_use = bisect_left(blocks, True, key=lambda block: block not in used)
        there = bisect_left(blocks, True, in_use, key=lambda block: block not in kept)
        more = len(blocks) - in_use + _blocks_alone(job)
        if self._taken + more > self._capacity:
            assert self.running, "a prompt that is larger than the memory"
            return False
        for block in blocks[:in_use]:
            used[block] += 1
        for block in blocks[in_use:there]:
            del kept[block]
        used.update(dict.fromkeys(blocks[in_use:], 1))
        self._taken += more
        self._make_room()
        # The end of a prompt is computed anew: the first token comes of it.
        job.cached = job.done = min(there, (job.prompt - 1) // BLOCK) * BLOCK
        return True

    def _leave(self, job: Job) -> None:
        """Gives the blocks back; what is in them is kept."""
        if job.adapter:
            self.adapters[job.adapter] -= 1
            if not self.adapters[job.adapter]:
                self._waiting.extendleft(reversed(self._without_place))
                self._without_place.clear()
        blocks, used, kept = job.blocks, self._used, self._kept
        shared = bisect_left(blocks, True, key=lambda block: used[block] == 1)
        for block in blocks[:shared]:
            used[block] -= 1
        for block in blocks[shared:]:
            del used[block]
        self._taken -= len(blocks) - shared + _blocks_alone(job)
        kept.update(dict.fromkeys(block for block in reversed(job.all_blocks[shared:]) if block not in used))
        self._make_room()

    def _make_room(self) -> None:
        while self._taken + len(self._kept) > self._capacity:
            self._kept.popitem(last=False)


def _blocks_alone(job: Job) -> int:
    """Blocks that are no other's while it runs: the end of the prompt and the answer."""
    return -(-(job.prompt + job.answer) // BLOCK) - len(job.blocks)
