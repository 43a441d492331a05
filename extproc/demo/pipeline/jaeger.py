"""A real Jaeger beside the pipeline, where there is one: it gets every span, and is asked what it has made of them.

Jaeger 2, in memory, with its legacy query API (``/api/traces``, ``/api/dependencies``).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import msgspec

from extproc.errors import SetupError
from extproc.gateway.free_ports import free_addresses
from extproc.serve.child_process import ChildProcess

VARIABLE = "EXTPROC_JAEGER"
_START_TIMEOUT = 30.0
"""Seconds."""
_POLL_INTERVAL = 0.05
"""Seconds between two questions whether it is ready."""
_LOOKBACK = 3_600_000
"""Milliseconds of which the service graph is asked."""

Link: TypeAlias = tuple[str, str, str]
"""A span's id, its parent's (empty: none), and its service."""


class Stored(msgspec.Struct, frozen=True):
    """What Jaeger has."""

    links: Mapping[str, frozenset[Link]] = {}
    """By trace."""
    graph: frozenset[tuple[str, str]] = frozenset()
    """Its service graph: who calls whom."""


def built() -> Path:
    """Where `make jaeger` puts it: below the user's cache directory (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aimesh-extproc" / "jaeger" / "jaeger"


def find() -> str | None:
    """The Jaeger of the variable ``EXTPROC_JAEGER``, of the PATH, or of `make jaeger`. Raises ``SetupError``."""
    if chosen := os.environ.get(VARIABLE):
        if not os.access(chosen, os.X_OK):
            raise SetupError(f"{VARIABLE} names {chosen!r}, which is not a program; correct or unset it")
        return chosen
    return shutil.which("jaeger") or (str(built()) if built().exists() else None)


class Jaeger:
    """A running Jaeger."""

    def __init__(self, otlp: str, query: str) -> None:
        self.otlp = otlp
        """``host:port`` where it takes spans."""
        self.url = f"http://{query}"

    @classmethod
    @asynccontextmanager
    async def running(cls, program: str, directory: Path) -> AsyncIterator[Jaeger]:
        """Ready to take spans, for as long as the block lasts. Raises ``SetupError``."""
        otlp, query, grpc = free_addresses(3)
        file = directory / "jaeger.json"
        file.write_text(json.dumps(_configuration(otlp, query, grpc)))
        child = ChildProcess("Jaeger", [program, "--config", str(file)], output=False)
        try:
            jaeger = cls(otlp, query)
            await jaeger._wait_ready(child)
            yield jaeger
        finally:
            child.terminate(5.0)

    async def stored(self, traces: Iterable[str]) -> Stored:
        """What it has of these traces, and its service graph. Raises ``SetupError`` where it does not answer."""
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
                links = {id_: await self._links(session, id_) for id_ in traces}
                now = int(time.time() * 1000)
                asked = f"/api/dependencies?endTs={now}&lookback={_LOOKBACK}"
                async with session.get(self.url + asked, raise_for_status=True) as answer:
                    found = (await answer.json())["data"] or []
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
            raise SetupError(f"Jaeger does not tell what it has: {error}") from error
        # A span below another of its own service, as a proxy's call below what it serves, counts there as well.
        calls = ((one["parent"], one["child"]) for one in found)
        return Stored(links, frozenset((caller, callee) for caller, callee in calls if caller != callee))

    async def _links(self, session: aiohttp.ClientSession, id_: str) -> frozenset[Link]:
        async with session.get(f"{self.url}/api/traces/{id_}") as answer:
            if answer.status == 404:
                return frozenset()
            answer.raise_for_status()
            (trace,) = (await answer.json())["data"]
        return frozenset(_link(span, trace["processes"]) for span in trace["spans"])

    async def _wait_ready(self, child: ChildProcess) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while time.monotonic() < deadline:
                if not child.alive:
                    raise SetupError(child.exit_report())
                try:
                    async with session.get(f"{self.url}/api/services") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(_POLL_INTERVAL)
        raise SetupError(f"Jaeger was not ready within {_START_TIMEOUT:g} s")


def _link(span: Mapping[str, Any], processes: Mapping[str, Any]) -> Link:
    parents = (one["spanID"] for one in span.get("references", ()) if one["refType"] == "CHILD_OF")
    return span["spanID"], next(parents, ""), processes[span["processID"]]["serviceName"]


def _configuration(otlp: str, query: str, grpc: str) -> dict[str, Any]:
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100_000}}}},
            "jaeger_query": {"storage": {"traces": "memory"}, "http": {"endpoint": query}, "grpc": {"endpoint": grpc}},
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": otlp}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }
