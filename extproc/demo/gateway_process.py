"""The gateway of the demo: ``extproc up`` as a child process, and what it counts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from extproc.demo.evidence import Counters, PolicyTarget, counters
from extproc.errors import SetupError
from extproc.gateway.free_ports import free_addresses
from extproc.serve.child_process import ChildProcess

_START_TIMEOUT = 30.0
"""Seconds."""
_STOP_TIMEOUT = 15.0
"""Seconds that the gateway has to stop by itself: above its drain time."""
_POLL_INTERVAL = 0.05
"""Seconds between two probes of readiness."""


class Gateway:
    """A running ``extproc up``."""

    def __init__(self, child: ChildProcess, listen: str, admin: str, envoy_admin: str) -> None:
        self._child = child
        self.admin = f"http://{admin}"
        self.envoy_admin = f"http://{envoy_admin}"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self.url = f"http://{listen}"

    @classmethod
    @asynccontextmanager
    async def running(cls, policy: Path) -> AsyncIterator[Gateway]:
        """A gateway for ``policy``, ready for requests; stopped when the context ends. Raises ``SetupError``."""
        listen, admin, envoy_admin = free_addresses(3)
        command = [sys.executable, "-m", "extproc", "up", "-f", str(policy)]
        command += ["--listen", listen, "--admin", admin, "--envoy-admin", envoy_admin]
        child = ChildProcess("the gateway", command, output=False)
        try:
            gateway = cls(child, listen, admin, envoy_admin)
            async with gateway._session:
                await gateway._wait_ready()
                yield gateway
        finally:
            child.terminate(_STOP_TIMEOUT)

    async def counters(self, targets: Sequence[PolicyTarget]) -> Counters:
        """What Envoy and the processor have counted. Raises ``SetupError`` where they are gone."""
        try:
            envoy = await self._get(f"{self.envoy_admin}/stats?format=json&filter=upstream_rq_completed$")
            return counters(targets, envoy, (await self._get(f"{self.admin}/metrics")).decode())
        except (aiohttp.ClientError, TimeoutError) as error:
            # The gateway ends when one of its children dies, but not at once.
            raise SetupError(self._exit_report() or f"the gateway does not tell what it counted: {error}") from error

    async def _wait_ready(self) -> None:
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                while not await self._ready():
                    if exit_report := self._exit_report():
                        raise SetupError(exit_report)
                    await asyncio.sleep(_POLL_INTERVAL)
        except TimeoutError:
            raise SetupError(f"the gateway was not ready within {_START_TIMEOUT:g} s") from None

    async def _ready(self) -> bool:
        try:
            await self._get(f"{self.admin}/readyz")
            await self._get(f"{self.envoy_admin}/ready")
            return bool(await self._get(f"{self.envoy_admin}/listeners"))
        except aiohttp.ClientError:
            return False

    async def _get(self, url: str) -> bytes:
        async with self._session.get(url, raise_for_status=True) as response:
            return await response.read()

    def _exit_report(self) -> str:
        return "" if self._child.alive else self._child.exit_report()
