"""One kind of objects, followed: listed, then watched, and listed anew when the watch can't go on."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from extproc.kubernetes.api import Api, ApiFailure, NoCredentials, Object, Resource, connect
from extproc.kubernetes.outage import Outage

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds before the next try after a failure: the first time, doubled with each failure, and at most."""
SHORTEST_WATCH = 1.0
"""Seconds. After one that ends sooner there is a pause, as after a failure: something in between ends them all."""
WATCHES_A_LIST = 10
"""So many watches, each a minute long, follow one list: whatever a watch has missed comes with the next list."""
_TOO_MANY = 429
"""The status of a server that has no time now."""


class ObjectWatch:
    """The objects of a kind, in one namespace or in all. Runs in one event loop, whose thread reads it."""

    def __init__(
        self,
        resource: Resource,
        namespace: str,
        on_change: Callable[[], None],
        *,
        optional: bool = False,
        part: Callable[[Object], Object] = lambda found: found,
    ) -> None:
        """``on_change()`` is called after the objects have changed, and after a failure while there are none.

        ``optional``: a server that does not have the kind has no objects of it, and that is no failure. ``part``: what
        is kept of an object, its ``metadata.resourceVersion`` included.
        """
        self.resource = resource
        self.namespace = namespace
        self.objects: dict[tuple[str, str], Object] = {}
        """As last told, by namespace and name; they stay while the server is away."""
        self.listed = False
        """Whether the server has told them at all."""
        self.answered = False
        """Whether the server has told them, or has refused to; not while it is away or has no time."""
        self.failure = "was not asked yet"
        """Why they may be out of date; empty where they are not."""
        self.outage = Outage()
        self._on_change = on_change
        self._optional, self._part = optional, part
        self._failures = 0

    @property
    def _what(self) -> str:
        return f"{self.resource.plural} in {self.namespace}" if self.namespace else self.resource.plural

    async def run(self) -> None:
        """Follows the objects until it is cancelled."""
        while True:
            try:
                async with connect() as api:
                    await self._follow(api)
            except (ApiFailure, NoCredentials) as failure:
                status = failure.status if isinstance(failure, ApiFailure) else None
                refused = status is not None and 400 <= status < 500
                self.answered |= refused and status != _TOO_MANY
                if status is not None and not refused:
                    self.outage.failed(time.monotonic())
                if self._optional and status == 404:
                    self._note_absence()
                else:
                    self._fail(str(failure))
            except Exception as error:  # an answer that no API server gives: the next may be one
                log.exception("an answer about %s can't be used", self._what)
                self._fail(type(error).__name__)
            await asyncio.sleep(self._pause())

    async def _follow(self, api: Api) -> None:
        while True:
            listed = await api.list(self.resource, self.namespace)
            self.outage.heard(time.monotonic())
            # The kind of an object in a list is that of the list.
            told = {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
            self.objects = {_place(found): self._part(found | told) for found in listed.objects}
            if self.listed and self.failure:
                log.info("%s are watched again", self._what)
            self.listed, self.answered, self.failure = True, True, ""
            self._on_change()
            await self._watch(api, listed.resource_version)

    async def _watch(self, api: Api, version: str) -> None:
        for _ in range(WATCHES_A_LIST):
            began = time.monotonic()
            async for event in api.watch(self.resource, self.namespace, version):
                self._failures = 0
                version = str(event.object["metadata"]["resourceVersion"])
                known = self.objects.get(_place(event.object)) if event.type == "MODIFIED" else None
                if event.type == "BOOKMARK" or (known and known["metadata"]["resourceVersion"] == version):
                    continue  # the latter: its writer has put the answer into ``objects`` already
                if event.type == "DELETED":
                    self.objects.pop(_place(event.object), None)
                else:
                    self.objects[_place(event.object)] = self._part(event.object)
                self._on_change()
            if time.monotonic() - began >= SHORTEST_WATCH:
                self._failures = 0
            else:
                self._failures += 1
                await asyncio.sleep(self._pause())

    def _fail(self, why: str) -> None:
        self._failures += 1
        if why != self.failure:
            log.warning("%s can't be watched: %s", self._what, why)
        self.failure = why
        if not self.listed:
            self._on_change()

    def _note_absence(self) -> None:
        """The server does not have the kind; it is asked again, as after a failure."""
        self._failures += 1
        known = self.listed and not self.objects and not self.failure
        self.objects, self.listed, self.failure = {}, True, ""
        if not known:
            log.info("there are no %s: the server does not have the kind", self._what)
            self._on_change()

    def _pause(self) -> float:
        """At random, so that many processors do not all come back at one moment."""
        longest = min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE)
        return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _place(found: Object) -> tuple[str, str]:
    metadata = found["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])
