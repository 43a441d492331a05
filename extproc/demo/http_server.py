"""A small HTTP server on loopback, for the demo's services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext

from aiohttp import web
from aiohttp.typedefs import Handler


@asynccontextmanager
async def serving(routes: Sequence[web.RouteDef], port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[str]:
    """Serves on loopback (0: a free port) for as long as the block lasts: ``127.0.0.1:PORT``. Raises ``OSError``.

    A request whose client has left is given up at once: nobody's must not keep a server busy.
    """
    app = web.Application(middlewares=[_ignore_disconnect])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


@web.middleware
async def _ignore_disconnect(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A client that disconnects during an answer is no server error."""
    with suppress(ConnectionResetError):
        return await handler(request)
    return web.Response()
