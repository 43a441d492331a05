"""The routes of which policies take their weights, followed for as long as a policy names one.

Not before: the kinds may not be installed, and a cluster may have many of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from extproc.kubernetes.api import Object
from extproc.kubernetes.object_watch import ObjectWatch
from extproc.kubernetes.route_weights import ROUTES
from extproc.policy.weights_from import KINDS

FIRST_LIST = 2.0
"""Seconds that the first answer about a place is waited for: without it the weights in force stay."""


class RouteWatches:
    """Runs in one event loop, whose thread calls it."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """``on_change()`` is called after routes have changed."""
        self._on_change = on_change
        self._told = asyncio.Event()
        self._running: dict[tuple[str, str], tuple[ObjectWatch, asyncio.Task[None]]] = {}

    async def follow(self, policies: Iterable[Object]) -> list[Object]:
        """Follows the routes beside those that these policies name from now on, and no others; as last told.

        Of a kind that the server is silent about a new place is not waited for: it would hold up every policy.
        """
        places = {place for policy in policies for place in _wanted(policy)}
        for place in self._running.keys() - places:
            self._running.pop(place)[1].cancel()
        silent = {kind for (kind, _), (watch, _) in self._running.items() if not watch.answered}
        fresh = []
        for kind, namespace in places - self._running.keys():
            watch = ObjectWatch(ROUTES[kind], namespace, self._tell)
            self._running[kind, namespace] = watch, asyncio.create_task(watch.run())
            if kind not in silent:
                fresh.append(watch)
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LIST):
                while not all(watch.answered for watch in fresh):
                    self._told.clear()
                    await self._told.wait()
        return [one for watch, _ in self._running.values() for one in watch.objects.values()]

    def _tell(self) -> None:
        self._told.set()
        self._on_change()

    async def stop(self) -> None:
        """Ends all of it."""
        tasks = [task for _, task in self._running.values()]
        await self.follow(())
        await asyncio.gather(*tasks, return_exceptions=True)


def _wanted(policy: Object) -> Iterator[tuple[str, str]]:
    """The kind and the namespace of the route that a policy names, whatever else is wrong with it."""
    wanted = (policy.get("spec") or {}).get("weightsFrom")
    for name, kind in KINDS.items():
        if isinstance(wanted, dict) and name in wanted:
            yield kind, str(policy["metadata"]["namespace"])
