"""``extproc demo-model``: one of the demo's model servers on its own, which says its version in each answer."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from extproc.demo.model_servers import OpenAIServer, Pace
from extproc.errors import SetupError


class ToyModel(OpenAIServer):
    """Records nothing, since it may run for long. Its answers begin with its version."""

    def __init__(self, models: Sequence[str], version: str) -> None:
        super().__init__(models, Pace(first_token=0.060, per_token=0.006))
        self._version = version

    def answer(self, body: dict[str, Any]) -> list[str]:
        """The words of the answer."""
        first, *others = super().answer(body)
        return [f"[{self._version}] {first}", *others]

    def record_request(self, request: web.Request, model: str) -> None:
        """Keeps nothing."""

    def record_usage(self, request: web.Request, usage: dict[str, Any], first_token: float | None = None) -> None:
        """Keeps nothing."""


def serve(port: int, version: str, models: Sequence[str]) -> int:
    """Serves on loopback until SIGINT or SIGTERM; returns the exit status. Raises ``SetupError``."""
    return asyncio.run(_until_signal(port, ToyModel(models, version), version))


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
        raise SetupError(f"can't listen on 127.0.0.1:{port}: {error.strerror}") from None
    return 0
