"""`python -m benchmarks.picking.live_servers LOAD STRETCH`: the simulator's servers, in real time and on real ports.

One process has all servers of a load, each on a port of its own, which it prints. A server answers
``POST /v1/chat/completions`` with a stream, its first token when the simulated one would have it and the others
together at the end, and tells its load on ``/metrics`` as vLLM does. A step ends at the time that follows from the
steps before it; by how much later this process came to a hundredth of them is printed when standard input is closed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from asyncio import Future, TimerHandle
from base64 import b64encode
from contextlib import suppress
from random import Random

import msgspec
import numpy as np
from aiohttp import web

from benchmarks.picking.gpus import Gpu
from benchmarks.picking.server import ADAPTERS, BLOCK, Job, Server
from benchmarks.picking.traffic import BYTES, LOADS
from extproc.demo.toy_engine import prefix_blocks
from extproc.demo.vllm_page import EngineLoad, LoraRequests, metrics_page

BASE_MODEL = "llama"
"""What a request names that asks for no adapter."""


class _Message(msgspec.Struct):
    content: str


class _Chat(msgspec.Struct):
    model: str
    max_tokens: int
    messages: list[_Message]


class _Delta(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    delta: _Delta
    index: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_read = msgspec.json.Decoder(_Chat).decode
_read_chunk = msgspec.json.Decoder(_Chunk).decode
_DATA = b"data: "
END = _DATA + b"[DONE]\n"


def event(text: str) -> bytes:
    """A piece of an answer, as it is sent."""
    return _DATA + msgspec.json.encode(_Chunk([_Choice(_Delta(text))])) + b"\n\n"


def piece(line: bytes) -> str:
    """What a line of an answer has of it: nothing but for an event's."""
    return _read_chunk(line[len(_DATA) :]).choices[0].delta.content if line.startswith(_DATA) else ""


class LiveServer:
    """One server: the simulated one, and who waits for it."""

    def __init__(self, number: int, gpu: Gpu, stretch: float) -> None:
        """``stretch``: real seconds of a simulated one."""
        self.number, self.server = number, Server(gpu)
        self.late: list[float] = []
        """By how many real seconds each step was noticed too late."""
        self._stretch, self._random = stretch, Random(number)
        self._loop = asyncio.get_running_loop()
        self._timer: TimerHandle | None = None
        self._began = self._due = 0.0
        """When the steps under way began, and when they end."""
        self._waiters: dict[Job, tuple[Future[None], Future[None]]] = {}

    def _add(self, job: Job) -> tuple[Future[None], Future[None]]:
        """Done when the first token is there, and when all are."""
        waiters = self._waiters[job] = self._loop.create_future(), self._loop.create_future()
        self.server.add(job)
        now = self._loop.time()
        if self._timer is None:
            self._began = now
            self._end_after(self.server.begin())
        else:
            self._timer.cancel()
            self._end_after(self.server.join((now - self._began) / self._stretch))
        return waiters

    def _end_after(self, seconds: float) -> None:
        self._due = self._began + self._stretch * seconds
        self._timer = self._loop.call_at(self._due, self._end)

    def _end(self) -> None:
        server, self._timer = self.server, None
        self.late.append(self._loop.time() - self._due)
        ended = server.end(self._due)
        for job in server.begun:
            self._waiters[job][0].set_result(None)
        for job in ended:
            self._waiters.pop(job)[1].set_result(None)
        if not server.idle:
            self._began = self._due
            self._end_after(server.begin())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A stream of two events, and the end."""
        chat = _read(await request.read())
        prompt = "".join(message.content for message in chat.messages).encode()
        text = b64encode(self._random.randbytes(BYTES * chat.max_tokens * 3 // 4))
        adapter = "" if chat.model == BASE_MODEL else chat.model
        blocks, all_blocks = (prefix_blocks(sent, BLOCK * BYTES) for sent in (prompt, prompt + text))
        job = Job(0.0, blocks, len(prompt) // BYTES, chat.max_tokens, adapter, all_blocks)
        first, end = self._add(job)
        await asyncio.shield(first)  # the client may go; the server goes on
        headers = {"content-type": "text/event-stream", "x-cached": str(job.cached), "x-server": str(self.number)}
        response = web.StreamResponse(headers=headers)
        with suppress(ConnectionError):  # the run is over
            await response.prepare(request)
            await response.write(event(text[:BYTES].decode()))
            await asyncio.shield(end)
            await response.write(event(text[BYTES:].decode()) + END + b"\n")
        return response

    async def page(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """The metrics page."""
        server = self.server
        adapters = LoraRequests(*server.told_adapters, ADAPTERS)
        blocks = server.gpu.cached_tokens // BLOCK
        load = EngineLoad(server.running, server.waiting, server.cache, blocks, BLOCK, adapters)
        return web.Response(text=metrics_page(BASE_MODEL, load))


async def serve(load: str, stretch: float) -> None:
    """Until it is killed; tells how late it was when standard input is closed."""
    gpus = next(one for one in LOADS if one.name == load).servers
    servers = [LiveServer(number, gpu, stretch) for number, gpu in enumerate(gpus)]
    ports = []
    for server in servers:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", server.answer)
        app.router.add_get("/metrics", server.page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        ports.append(runner.addresses[0][1])
    print(json.dumps(ports), flush=True)
    gc.freeze()
    gc.disable()  # its pauses are not a model server's
    await asyncio.to_thread(sys.stdin.read)
    late = np.concatenate([server.late for server in servers])
    print(float(np.quantile(late, 0.99)), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
