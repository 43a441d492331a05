"""What benchmarks in real time run on this machine: model servers of theirs, and `extproc up` before them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from aiohttp import web

from extproc.gateway.free_ports import free_addresses


async def serve(stack: AsyncExitStack, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
    """The address of a running server that answers each POST by ``answer``."""
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    host, port = runner.addresses[0]
    return f"{host}:{port}"


async def gateway(stack: AsyncExitStack, policies: str) -> tuple[str, str]:
    """`extproc up` with these policies: its address, and that of its admin pages. Raises ``SystemExit``."""
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
    (scratch / "policy.yaml").write_text(policies)
    listen, admin = free_addresses(2)
    words = ["-m", "extproc", "up", "-f", "policy.yaml", "--listen", listen, "--admin", admin]
    up = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=scratch, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    stack.push_async_callback(up.wait)
    stack.callback(up.terminate)
    assert up.stderr is not None
    while b"an AI gateway on" not in (line := await up.stderr.readline()):
        if not line:
            raise SystemExit("extproc up did not start")
    reading = asyncio.create_task(up.stderr.read())
    stack.callback(reading.cancel)
    return listen, admin


async def client(stack: AsyncExitStack) -> aiohttp.ClientSession:
    """A session without bounds of its own."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    return await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
