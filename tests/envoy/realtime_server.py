"""A model server with a realtime API: answers over a WebSocket, word by word, and notes when it said each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from .schedules import WORDS
from .test_timing import FIRST, PER_TOKEN

OUTPUT = 17
USAGE = {
    "total_tokens": 38,
    "input_tokens": 21,
    "output_tokens": OUTPUT,
    "input_token_details": {"text_tokens": 21, "audio_tokens": 0, "cached_tokens": 8},
}
Socket: TypeAlias = web.WebSocketResponse
Act: TypeAlias = Callable[[Socket, str], Awaitable[None]]


class Speaker:
    """A model server: answers each message with what ``act`` says, under an id of its own."""

    def __init__(self) -> None:
        self.act: Act = self.answer
        self.acknowledged = 0.0
        """When the first answer to the last message was announced."""
        self.said: list[float] = []
        """When each token of the last answer was sent."""
        self.firsts: list[float] = []
        """When the first token of each answer was sent."""
        self.kind = "output_text"
        self.size = 1
        """By how much words are longer than words are."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("deployment") == "refused" or request.headers.get("upgrade", "") != "websocket":
            return web.json_response({"error": {"message": "no"}}, status=401)
        line = web.WebSocketResponse(protocols=["realtime"], compress=True)
        await line.prepare(request)
        await line.send_json({"type": "session.created", "session": {"type": "realtime"}})
        number = 0
        async for _ in line:
            number += 1
            self.acknowledged = time.perf_counter()
            await self.act(line, f"resp_{number}")
        return line

    async def begin(self, line: Socket, name: str) -> None:
        await line.send_json({"type": "response.created", "response": {"id": name, "usage": None}})
        await line.send_json({"type": "response.output_item.added", "response_id": name, "item": {"content": []}})

    async def end(self, line: Socket, name: str, status: str = "completed") -> None:
        await line.send_json({"type": "response.output_item.done", "response_id": name})
        await line.send_json({"type": "response.done", "response": {"id": name, "status": status, "usage": USAGE}})

    async def speak(self, line: Socket, name: str, words: int = len(WORDS)) -> None:
        self.said = []
        begun = time.perf_counter()
        for word in WORDS[:words]:
            due = begun + FIRST + PER_TOKEN * len(self.said)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.said.append(time.perf_counter())
            event = {"type": f"response.{self.kind}.delta", "response_id": name, "delta": word * self.size}
            await line.send_json(event)
        self.firsts.append(self.said[0])

    async def answer(self, line: Socket, name: str) -> None:
        await self.begin(line, name)
        await line.ping()
        await self.speak(line, name)
        await self.end(line, name)
