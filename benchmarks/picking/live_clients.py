"""Clients of a load, in real time: each conversation begins when the simulator's does, however the servers are."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from math import nan

import aiohttp
import msgspec

from benchmarks.picking.live_servers import BASE_MODEL, END, piece
from benchmarks.picking.simulation import Done
from benchmarks.picking.traffic import BYTES, Conversation, Load

PATIENCE = 15.0
"""Simulated seconds after the last question for which answers are awaited."""
_PATH = "/v1/chat/completions"


class Clients:
    """All clients of one run. Times that they note are simulated seconds."""

    def __init__(self, url: str, stretch: float, session: aiohttp.ClientSession) -> None:
        """``stretch``: real seconds of a simulated one."""
        self.done: list[Done] = []
        self.failed: Counter[str] = Counter()
        """What went wrong, by status or exception."""
        self.late: list[float] = []
        """By how many real seconds requests left too late."""
        self._url, self._stretch, self._session = url + _PATH, stretch, session
        self._clock = asyncio.get_running_loop().time
        self._began = self._end = 0.0
        """When questions begin, and when no more are asked."""

    async def run(self, load: Load, seconds: float, seed: int) -> None:
        """What is asked within so many simulated seconds, to the end of its answer or of ``PATIENCE``."""
        conversations = list(load.conversations(seconds, seed))
        self._began = self._clock() + 0.1
        self._end = self._began + self._stretch * seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._end + self._stretch * PATIENCE), asyncio.TaskGroup() as group:
                for conversation in conversations:
                    due = self._began + self._stretch * conversation.at
                    await asyncio.sleep(due - self._clock())
                    group.create_task(self._talk(conversation, due))

    async def _talk(self, conversation: Conversation, due: float) -> None:
        """``due``: when the first question is to be asked."""
        messages: list[dict[str, str]] = []
        if conversation.start.raw:
            messages.append({"role": "system", "content": conversation.start.raw.decode()})
        for number, turn in enumerate(conversation.turns):
            if number:
                due = self._clock() + self._stretch * turn.thinking
                if due >= self._end:
                    return
                await asyncio.sleep(due - self._clock())
            messages.append({"role": "user", "content": turn.question.decode()})
            body = {
                "model": conversation.adapter or BASE_MODEL,
                "stream": True,
                "max_tokens": len(turn.answer) // BYTES,
                "messages": messages,
            }
            prompt = sum(len(message["content"]) for message in messages) // BYTES
            try:
                answer = await self._ask(msgspec.json.encode(body), str(conversation.number), due, prompt)
            except aiohttp.ClientError as error:
                self.failed[type(error).__name__] += 1
                return
            if not answer:
                return
            messages.append({"role": "assistant", "content": answer})

    async def _ask(self, body: bytes, user: str, due: float, prompt: int) -> str:
        """The answer; empty if there is none. ``prompt``: tokens of the prompt. Noted as soon as a token has come."""
        headers = {"content-type": "application/json", "x-session": user}
        self.late.append(self._clock() - due)
        pieces: list[str] = []
        first = ended = nan
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                if response.status != 200:
                    self.failed[str(response.status)] += 1
                    return ""
                async for line in response.content:
                    if line == END:
                        ended = self._clock()
                        break
                    first = first if pieces else self._clock()
                    pieces.append(piece(line))
        except asyncio.CancelledError:
            if not pieces:
                self.failed["unanswered"] += 1
            raise
        finally:
            if pieces:
                tokens = len("".join(pieces)) // BYTES
                done = Done(
                    (due - self._began) / self._stretch,
                    (first - due) / self._stretch,
                    (ended - first) / self._stretch / max(1, tokens - 1),
                    (ended - due) / self._stretch,
                    prompt,
                    int(response.headers["x-cached"]),
                    int(response.headers["x-server"]),
                )
                self.done.append(done)
        return "".join(pieces)
