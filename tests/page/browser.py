"""A real Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_STARTED_WITHIN = 20.0
_PATIENCE = 15.0


def find() -> str | None:
    """Path of a Chromium: the variable ``EXTPROC_CHROMIUM``, or the PATH."""
    names = (os.environ.get("EXTPROC_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self.complaints: list[str] = []
        """What the page's console and its security policy complain of."""

    async def listen(self) -> None:
        """Takes what the browser says, until it has gone."""
        async for message in self._socket:
            said = json.loads(message.data)
            if waiting := self._waiting.pop(said.get("id", 0), None):
                if not waiting.done():
                    waiting.set_result(said)
            elif said.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["params"]["exceptionDetails"])[:500])
            elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] in ("error", "warning"):
                self.complaints.append(said["params"]["entry"]["text"])

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result."""
        self._number += 1
        answer = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        said = await asyncio.wait_for(answer, _PATIENCE)
        assert "error" not in said, (method, said)
        found: dict[str, Any] = said["result"]
        return found

    async def eval(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        said = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def texts(self, selector: str) -> list[str]:
        """What stands in each of these elements."""
        found = await self.eval(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")
        return [str(text) for text in found]

    async def until(self, expression: str, seconds: float = _PATIENCE) -> None:
        """Returns once the expression holds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await self.eval(expression):
            assert asyncio.get_running_loop().time() < deadline, f"it did not come about: {expression}"
            await asyncio.sleep(0.02)

    async def open(self, url: str, width: int = 1280, *, dark: bool = False, phone: bool = False) -> None:
        """Shows ``url`` in a window of this width."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.size(width, 900, phone=phone)
        await self.send("Page.navigate", url=url)
        await self.until(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    async def size(self, width: int, height: int, *, phone: bool = False, scale: float = 1.0) -> None:
        """How large the window is, in CSS pixels."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    async def screenshot(self, kind: str = "webp") -> bytes:
        """What the window shows, as ``webp`` or ``png``."""
        quality = {"quality": 80} if kind == "webp" else {}
        said = await self.send("Page.captureScreenshot", format=kind, **quality)
        return base64.b64decode(said["data"])


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """An empty page in a Chromium of its own; nothing of it is left behind."""
    path = find()
    assert path is not None
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            path, *_FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.DEVNULL
        )
        try:
            port = await _port(Path(profile, "DevToolsActivePort"), process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    tab = next(one for one in await answer.json() if one["type"] == "page")
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    listening = asyncio.create_task(page.listen())
                    for domain in ("Page", "Runtime", "Log"):
                        await page.send(f"{domain}.enable")
                    yield page
                    listening.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _port(file: Path, process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(_STARTED_WITHIN):
        while not (file.exists() and file.read_text()):
            assert process.returncode is None, "Chromium did not start"
            await asyncio.sleep(0.02)
    return int(file.read_text().split()[0])
