"""One run: a load, a way to pick, a seed. What picks is what serves: ``extproc.picking``."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random
from typing import Any

import msgspec
import numpy as np

from benchmarks.picking.server import Job, Server
from benchmarks.picking.traffic import Conversation, Load, Text
from extproc.picking.candidates import Candidates, Pick, Request
from extproc.picking.loads import AGE, CACHE, IN_FLIGHT, RUNNING, SENT_SINCE, WAITING, EndpointLoads, unknown_table
from extproc.picking.picker import Picker
from extproc.picking.prompt import prompt_of
from extproc.policy.picking import Picking

POLL = 0.1
"""Seconds between two reports of each server."""
READ = 0.02
"""Seconds for which what a processor read of the reports serves its picks."""
WARM = 0.25
"""Share of a run that is not counted: caches fill."""
ARRIVAL, STEP = range(2)


class Done(msgspec.Struct, frozen=True):
    """A request that was answered."""

    came: float
    first_token: float
    """Seconds to it."""
    per_token: float
    """Seconds for each of the others; NaN where the answer did not end."""
    took: float
    """Seconds; NaN where it did not end."""
    prompt: int
    cached: int
    server: int


class Processor:
    """One replica: what it knows of the servers, and picks by."""

    def __init__(self, load: Load, picking: Picking) -> None:
        self.picker = Picker("policy/version", picking)
        self.candidates = Candidates(tuple(f"10.0.0.{number}:8000" for number in range(len(load.servers))))
        self._place = {address: place for place, address in enumerate(self.candidates.addresses)}
        self.table = unknown_table(len(load.servers))
        self._adapters: list[frozenset[str]] = [frozenset()] * len(load.servers)
        self._has_adapters = bool(load.adapters)
        self._reported = self._read_at = -1.0
        self._loads = EndpointLoads(self.table.copy())

    def report(self, servers: list[Server], now: float) -> None:
        """What the servers tell."""
        table = self.table
        table[WAITING] = [server.waiting for server in servers]
        table[RUNNING] = [server.running for server in servers]
        table[CACHE] = [server.cache for server in servers]
        table[SENT_SINCE], self._reported = 0.0, now
        if self._has_adapters:
            self._adapters = [frozenset.union(*server.told_adapters) for server in servers]

    def pick(self, text: Text, session: int, adapter: str, now: float, random: Random) -> int:
        """The server that gets the request."""
        if now - self._read_at >= READ:
            self._read_at = now
            self.table[AGE] = now - self._reported
            self._loads = EndpointLoads(self.table.copy(), tuple(self._adapters) if self._has_adapters else (), now)
        prompt = prompt_of(text.raw, self.picker.spec.block_bytes, adapter)
        request = Request(prompt, str(session).encode(), adapter)
        found = self.picker.pick(self.candidates, self._loads, request, random.randbytes(8))
        assert isinstance(found, Pick)
        self.picker.sent(found.endpoint, prompt, found.matched)
        place = self._place[found.endpoint]
        self.table[IN_FLIGHT, place] += 1
        self.table[SENT_SINCE, place] += 1
        return place


class Simulation:
    """All servers, all processors, and the events between them."""

    def __init__(self, load: Load, picking: Picking, seed: int, replicas: int = 1) -> None:
        self._servers = [Server(gpu) for gpu in load.servers]
        self._began = [0.0] * len(self._servers)
        """When each server's steps began …"""
        self._due = [0.0] * len(self._servers)
        """… and when they end."""
        self._processors = [Processor(load, picking) for _ in range(replicas)]
        self._load, self._seed = load, seed
        self._random = Random(seed)
        self._events: list[tuple[float, int, int, Any]] = []
        self._count = 0
        self._of: dict[Job, tuple[Conversation, int, Text, Processor, int]] = {}
        self._end = 0.0
        self.asked = 0
        self.done: list[Done] = []

    def run(self, seconds: float) -> list[Done]:
        """What is asked within so many seconds, to the end of its answer."""
        self._end = seconds
        for conversation in self._load.conversations(seconds, self._seed):
            self._at(conversation.at, ARRIVAL, (conversation, 0, conversation.start))
        polled = -POLL
        while self._events:
            now, _, kind, what = heappop(self._events)
            if now >= polled + POLL:
                polled = now
                for processor in self._processors:
                    processor.report(self._servers, now)
            if kind == ARRIVAL:
                self._arrive(now, *what)
            elif now == self._due[what]:  # else a request came, and they ended earlier
                self._end_steps(now, what)
        return self.done

    def _at(self, when: float, kind: int, what: object) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, kind, what))

    def _arrive(self, now: float, conversation: Conversation, number: int, before: Text) -> None:
        turn = conversation.turns[number]
        text = before.with_more(turn.question)
        after = text.with_more(turn.answer)
        processor = self._processors[self._random.randrange(len(self._processors))]
        place = processor.pick(text, conversation.number, conversation.adapter, now, self._random)
        self.asked += 1
        answer = after.tokens - text.tokens
        job = Job(now, text.blocks, text.tokens, answer, conversation.adapter, after.blocks)
        self._of[job] = conversation, number, after, processor, place
        server = self._servers[place]
        asleep = server.idle
        server.add(job)
        if asleep:
            self._began[place] = now
            self._end_after(server.begin(), place)
        else:
            self._end_after(server.join(now - self._began[place]), place)

    def _end_after(self, seconds: float, place: int) -> None:
        due = self._began[place] + seconds
        if due != self._due[place]:
            self._due[place] = due
            self._at(due, STEP, place)

    def _end_steps(self, now: float, place: int) -> None:
        server = self._servers[place]
        for job in server.end(now):
            conversation, number, after, processor, _ = self._of.pop(job)
            processor.table[IN_FLIGHT, place] -= 1
            per_token = (job.ended - job.first) / max(1, job.answer - 1)
            self.done.append(
                Done(job.came, job.first - job.came, per_token, job.ended - job.came, job.prompt, job.cached, place)
            )
            if number + 1 < len(conversation.turns):
                when = now + conversation.turns[number + 1].thinking
                if when < self._end:
                    self._at(when, ARRIVAL, (conversation, number + 1, after))
        if not server.idle:
            self._began[place] = now
            self._end_after(server.begin(), place)


def summary(done: list[Done], warm: float, end: float) -> dict[str, float]:
    """Seconds, and shares, of the requests that came from ``warm`` to ``end``."""
    counted = [one for one in done if warm <= one.came < end]
    first = np.array([one.first_token for one in counted])
    busiest = np.bincount([one.server for one in counted]).max()
    return {
        "requests": float(len(counted)),
        "mean": float(first.mean()),
        "p50": float(np.quantile(first, 0.5)),
        "p99": float(np.quantile(first, 0.99)),
        "per_token": float(np.nanmean([one.per_token for one in counted])),
        "took": float(np.nanmean([one.took for one in counted])),
        "cached": sum(one.cached for one in counted) / sum(one.prompt for one in counted),
        "busiest": float(busiest / len(counted)),
    }
