"""A simulated server, in the manner of vLLM: continuous batching, prompts in pieces, a cache of prefixes.

By vLLM's documents and defaults (docs.vllm.ai: "Optimization and Tuning", "Automatic Prefix Caching", engine
arguments): a step computes at most 8192 tokens, first one for each answer, then pieces of prompts in the order in which
they came; at most 256 requests run; blocks of 16 tokens; a block that nobody uses is kept until its place is needed,
that which was not used for the longest time goes first, of one prompt its end. Unlike vLLM it takes the blocks of the
whole answer when it begins, so that nothing is ever begun twice; and a prompt's blocks count as cached from when it is
begun.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush

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
    """One engine. Whoever simulates asks for the next step, and says when it is over."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.waiting: deque[Job] = deque()
        self.adapters: OrderedDict[str, int] = OrderedDict()
        """Loaded ones, and how many running requests use each; that which was not used for the longest time first."""
        self._reading: deque[Job] = deque()
        """Requests whose prompts are not computed yet."""
        self._writing: list[tuple[int, int, Job]] = []
        """The others: (number of the step that ends it, order, request)."""
        self._steps, self._order, self._context = 0, 0, 0
        self._capacity = gpu.cached_tokens // BLOCK
        self._taken = 0
        """Blocks in use."""
        self._used: dict[int, int] = {}
        """Of blocks that may be shared, how many requests use each."""
        self._kept: OrderedDict[int, None] = OrderedDict()
        """Blocks that nobody uses."""
        self._pieces: list[tuple[Job, int]] = []

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

    def step(self) -> float:
        """Begins a step; its seconds."""
        budget = MOST_TOKENS - len(self._writing)
        pieces: list[tuple[Job, int]] = []
        for job in self._reading:
            if not budget:
                break
            tokens = min(budget, job.prompt - job.done)
            pieces.append((job, tokens))
            budget -= tokens
        loading = 0.0
        skipped: list[Job] = []
        while budget and self.waiting and self.running < MOST_RUNNING:
            job = self.waiting.popleft()
            if not self._has_place_for(job.adapter):
                skipped.append(job)
                continue
            if not self._take_blocks(job):
                skipped.append(job)
                break
            loading += self._load(job.adapter)
            self._reading.append(job)
            tokens = min(budget, job.prompt - job.done)
            pieces.append((job, tokens))
            budget -= tokens
        self.waiting.extendleft(reversed(skipped))
        self._pieces = pieces
        computed = sum(tokens for _, tokens in pieces)
        attended = sum(tokens * (job.done + tokens / 2) for job, tokens in pieces)
        return loading + self.gpu.step(computed + len(self._writing), attended, self._context)

    def end_step(self, now: float) -> list[Job]:
        """The step is over; the requests that ended with it."""
        self._steps += 1
        self._context += len(self._writing)
        ended = []
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
        shared = 0
        for block in job.blocks:
            if block not in self._used and block not in self._kept:
                break
            shared += 1
        more = sum(block not in self._used for block in job.blocks)
        if self._taken + more + _blocks_alone(job) > self._capacity:
            assert self.running, "a prompt that is larger than the memory"
            return False
        for block in job.blocks:
            self._kept.pop(block, None)
            self._used[block] = self._used.get(block, 0) + 1
        self._taken += more + _blocks_alone(job)
        self._make_room()
        # The end of a prompt is computed anew: the first token comes of it.
        job.cached = job.done = min(shared, (job.prompt - 1) // BLOCK) * BLOCK
        return True

    def _leave(self, job: Job) -> None:
        """Gives the blocks back; what is in them is kept."""
        if job.adapter:
            self.adapters[job.adapter] -= 1
        self._taken -= _blocks_alone(job)
        for block in reversed(job.all_blocks[len(job.blocks) :]):
            if block not in self._used:
                self._kept[block] = None
        for block in reversed(job.blocks):
            self._used[block] -= 1
            if not self._used[block]:
                del self._used[block]
                self._kept[block] = None
                self._taken -= 1
        self._make_room()

    def _make_room(self) -> None:
        while self._taken + len(self._kept) > self._capacity:
            self._kept.popitem(last=False)


def _blocks_alone(job: Job) -> int:
    """Blocks that are no other's while it runs: the end of the prompt and the answer."""
    return -(-(job.prompt + job.answer) // BLOCK) - len(job.blocks)
