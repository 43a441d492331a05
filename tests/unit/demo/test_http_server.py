"""The demo's HTTP server."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from extproc.demo.http_server import serving


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


def test_it_serves_for_as_long_as_the_block_lasts() -> None:
    async def main() -> str:
        async with aiohttp.ClientSession() as session:
            async with serving([web.get("/", hello)]) as endpoint, session.get(f"http://{endpoint}/") as answer:
                assert await answer.text() == "hello"
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://{endpoint}/")
            return endpoint

    assert asyncio.run(main()).startswith("127.0.0.1:")


def test_a_port_that_is_taken() -> None:
    async def main() -> None:
        async with serving([web.get("/", hello)]) as endpoint:
            with pytest.raises(OSError, match="address already in use"):
                async with serving([], int(endpoint.rpartition(":")[2])):
                    pass

    asyncio.run(main())
