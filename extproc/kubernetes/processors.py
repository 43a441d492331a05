"""The processors of a cluster, whose admin pages tell what rollouts are judged by."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from extproc.fetch.steps import get, run
from extproc.fetch.url import parse
from extproc.kubernetes.found_pools import SLICES
from extproc.kubernetes.object_watch import ObjectWatch
from extproc.kubernetes.service_endpoints import SERVICE_NAME, Pods, of_slices
from extproc.telemetry.measured_versions import Measured, decode_report

ADMIN_PORT = "http-admin"
"""Name of the port, in the processors' Service, where their admin pages are."""
TIMEOUT = 1.0
"""Seconds that a processor has for all of its answer."""
_MAX_ANSWER = 16 << 20
"""Bytes."""
_PARALLEL = 16
"""Processors that are asked at a time."""


def _ignore() -> None:
    """Where they are is read when they are asked."""


class Processors:
    """All that stand behind the processors' Services, ready or not: also one that ends, or starts, answers requests."""

    def __init__(self, services: Sequence[tuple[str, str]]) -> None:
        """``services``: namespaces and names."""
        self._services = tuple(services)
        self.watches = [ObjectWatch(SLICES, namespace, _ignore) for namespace in sorted({n for n, _ in services})]
        """To be run by whoever wants to measure. Where they fail, only that is not possible."""

    async def measure(self) -> Measured:
        """Asks all of them."""
        if failures := [watch.failure for watch in self.watches if watch.failure]:
            return Measured((), f"where the processors are is not known: {failures[0]}")
        addresses = self._addresses()
        if not addresses:
            names = ", ".join("/".join(service) for service in self._services)
            return Measured((), f"no processor is known: the Service {names} has no endpoint with a port {ADMIN_PORT}")
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(min(len(addresses), _PARALLEL), "admin pages") as threads:
            found = await asyncio.gather(*(loop.run_in_executor(threads, ask, address) for address in addresses))
        silent = [each.unheard for each in found if each.unheard]
        more = f", and {len(silent) - 1} more" if len(silent) > 1 else ""
        return Measured(
            [process for each in found for process in each.processes], f"{silent[0]}{more}" if silent else ""
        )

    def _addresses(self) -> list[str]:
        slices = (one for watch in self.watches for one in watch.objects.values())
        mine = [one for one in slices if _service(one["metadata"]) in self._services]
        return [endpoint.address for endpoint in of_slices(mine, ADMIN_PORT, Pods())]


def _service(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Of an EndpointSlice."""
    labels = metadata.get("labels") or {}
    return str(metadata.get("namespace")), str(labels.get(SERVICE_NAME))


def ask(address: str) -> Measured:
    """What the processes of one processor have counted."""
    try:
        status, body = run(get(parse(f"http://{address}/evidence"), TIMEOUT, _MAX_ANSWER))
        if status != 200:
            return Measured((), f"the processor {address} answers with status {status}")
        measured = decode_report(body)
        return Measured(measured.processes, measured.unheard and f"of the processor {address}, {measured.unheard}")
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        return Measured((), f"the processor {address} can't be heard: {str(error) or type(error).__name__}")
