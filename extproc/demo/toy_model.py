"""``extproc demo-model``: one of the demo's model servers on its own, which says its version in each answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from extproc.demo.model_servers import OpenAIServer, Pace
from extproc.demo.toy_engine import BLOCK_TOKENS, BLOCKS, SLOTS, ToyEngine
from extproc.demo.vllm_page import EngineLoad, metrics_page
from extproc.errors import cannot_listen


class Faults(msgspec.Struct, frozen=True):
    """What is wrong with it, to try a rollout's guards with."""

    fail_ratio: float = 0.0
    """Share of the requests that get 500, 0 to 1."""
    delay: float = 0.0
    """Seconds that the first token comes late."""
    empty: bool = False
    """Answers have no words."""


class ToyModel(OpenAIServer):
    """Records nothing, since it may run for long. Answers begin with its version; ``/metrics`` tells its load."""

    def __init__(
        self,
        models: Sequence[str],
        version: str,
        faults: Faults = Faults(),  # noqa: B008 - frozen
        slots: int = SLOTS,
    ) -> None:
        """``slots``: requests at once; the others wait."""
        super().__init__(models, Pace(first_token=0.060 + faults.delay, per_token=0.006))
        self._version = version
        self._faults = faults
        self._engine = ToyEngine(slots)

    def routes(self) -> list[web.RouteDef]:
        """The protocol's routes, and the metrics page."""
        return [*super().routes(), web.get("/metrics", self._metrics)]

    @asynccontextmanager
    async def turn(self, prompt: object) -> AsyncIterator[float]:
        """As the engine has it: the prompt is read, as far as it is not known."""
        async with self._engine.turn(json.dumps(prompt).encode()) as reading:
            yield self.pace.first_token + reading

    async def _read_body(self, request: web.Request) -> dict[str, Any]:
        body = await super()._read_body(request)
        if self._random.random() < self._faults.fail_ratio:
            error = {"message": "This model fails on purpose.", "type": "server_error"}
            raise web.HTTPInternalServerError(text=json.dumps({"error": error}), content_type="application/json")
        return body

    def answer(self, body: dict[str, Any]) -> list[str]:
        """The words of the answer."""
        if self._faults.empty:
            return []
        first, *others = super().answer(body)
        return [f"[{self._version}] {first}", *others]

    async def _metrics(self, _: web.Request) -> web.Response:
        engine = self._engine
        load = EngineLoad(engine.running, engine.waiting, engine.cache, BLOCKS, BLOCK_TOKENS)
        return web.Response(text=metrics_page(self.models[0], load))

    def record_request(self, request: web.Request, model: str) -> None:
        """Keeps nothing."""

    def record_usage(self, request: web.Request, usage: dict[str, Any], first_token: float | None = None) -> None:
        """Keeps nothing."""


def serve(port: int, version: str, models: Sequence[str], faults: Faults, slots: int) -> int:
    """Serves on loopback until SIGINT or SIGTERM; returns the exit status. Raises ``SetupError``."""
    return asyncio.run(_until_signal(port, ToyModel(models, version, faults, slots), version))


async def _until_signal(port: int, server: ToyModel, version: str) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with server.running(port):
            print(
                f"extproc: {', '.join(server.models)} {version} on http://{server.endpoint}, with OpenAI's API\n"
                f'  in a policy: versions: [{{name: {version}, endpoints: ["{server.endpoint}"]}}]',
                file=sys.stderr,
                flush=True,
            )
            await stop.wait()
    except OSError as error:
        raise cannot_listen(f"127.0.0.1:{port}", "--port", os.strerror(error.errno or 0)) from None
    return 0
