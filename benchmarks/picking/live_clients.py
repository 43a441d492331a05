"""Clients of a load, in real time: each conversation begins when the simulator's does, however the servers are."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import msgspec

from benchmarks.picking.live_servers import BASE_MODEL
from benchmarks.picking.simulation import Done
from benchmarks.picking.traffic import BYTES, Conversation, Load

_PATH = "/v1/chat/completions"
_END = b"data: [DONE]"


class _Delta(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_read = msgspec.json.Decoder(_Chunk).decode


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

    async def run(self, load: Load, seconds: float, seed: int) -> None:
        """What is asked within so many simulated seconds, to the end of its answer."""
        conversations = list(load.conversations(seconds, seed))
        began = self._clock() + 0.1
        async with asyncio.TaskGroup() as group:
            for conversation in conversations:
                due = began + self._stretch * conversation.at
                await asyncio.sleep(due - self._clock())
                group.create_task(self._talk(conversation, due, began, began + self._stretch * seconds))

    async def _talk(self, conversation: Conversation, due: float, began: float, end: float) -> None:
        messages: list[dict[str, str]] = []
        if conversation.start.raw:
            messages.append({"role": "system", "content": conversation.start.raw.decode()})
        for turn in conversation.turns:
            if due > began + self._stretch * conversation.at:
                due += self._stretch * turn.thinking
                if due >= end:
                    return
                await asyncio.sleep(due - self._clock())
            self.late.append(self._clock() - due)
            messages.append({"role": "user", "content": turn.question.decode()})
            body = {
                "model": conversation.adapter or BASE_MODEL,
                "stream": True,
                "max_tokens": len(turn.answer) // BYTES,
                "messages": messages,
            }
            try:
                answer = await self._ask(msgspec.json.encode(body), str(conversation.number), due, began, messages)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.failed[type(error).__name__] += 1
                return
            if not answer:
                return
            messages.append({"role": "assistant", "content": answer})
            due = self._clock()

    async def _ask(self, body: bytes, user: str, due: float, began: float, messages: list[dict[str, str]]) -> str:
        """The answer; empty if there is none."""
        headers = {"content-type": "application/json", "x-session": user}
        async with self._session.post(self._url, data=body, headers=headers) as response:
            if response.status != 200:
                self.failed[str(response.status)] += 1
                return ""
            first, pieces = 0.0, []
            async for line in response.content:
                if line.startswith(_END):
                    break
                if line.startswith(b"data: "):
                    first = first or self._clock()
                    pieces.append(_read(line.removeprefix(b"data: ")).choices[0].delta.content)
            now, answer = self._clock(), "".join(pieces)
            tokens = len(answer) // BYTES
            prompt = sum(len(message["content"]) for message in messages) // BYTES
            done = Done(
                (due - began) / self._stretch,
                (first - due) / self._stretch,
                (now - first) / self._stretch / max(1, tokens - 1),
                (now - due) / self._stretch,
                prompt,
                int(response.headers["x-cached"]),
                int(response.headers["x-server"]),
            )
            self.done.append(done)
            return answer
