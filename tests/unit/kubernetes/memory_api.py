"""Stands for the connection to an API server where no real one can run: objects in memory, and nothing checked.

What a real server does with them is in tests/kubernetes.
"""

# ruff: noqa: ARG002 - the signatures are those of Api

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from extproc.kubernetes.api import ApiFailure, Listed, Object, Resource, WatchEvent

Place = tuple[str, str, str, str]
"""Group, kind, namespace, name."""


class MemoryApi:
    """As ``Api``. ``refuse``: what to answer to an apply, by kind and name; ``writes``: what was written, in order;
    ``gets`` and ``lists``: how often it was asked for one object, and for many.
    """

    def __init__(self, *objects: Object) -> None:
        self.objects: dict[Place, Object] = {}
        self.refuse: dict[tuple[str, str], ApiFailure] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.gets = self.lists = 0
        self._events: list[tuple[Place, WatchEvent]] = []
        self._version = 0
        self._told = asyncio.Condition()
        for one in objects:
            self.put(one)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[MemoryApi]:
        """As ``connect``."""
        yield self

    def put(self, one: Object) -> Object:
        """Creates or changes an object, as somebody else does."""
        metadata = {"namespace": "", **one["metadata"]}
        place = (one["apiVersion"].rpartition("/")[0], one["kind"], metadata["namespace"], metadata["name"])
        old = self.objects.get(place)
        self._version += 1
        known = {"uid": f"uid-{metadata['name']}", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
        generation = old["metadata"]["generation"] + (old.get("spec") != one.get("spec")) if old else 1
        metadata = {**known, **metadata, "resourceVersion": str(self._version), "generation": generation}
        # A status is kept: it is a subresource of our kinds, and others do not write it.
        kept = {"status": old["status"]} if old and "status" in old else {}
        made = {**kept, **copy.deepcopy(one), "metadata": metadata}
        if old is None or {**old, "metadata": None} != {**made, "metadata": None}:
            self._tell(place, "MODIFIED" if old else "ADDED", made)
        self.objects[place] = made
        return copy.deepcopy(made)

    def find(self, kind: str, name: str) -> Object:
        """The object of that kind and name."""
        (found,) = (one for (_, k, _, n), one in self.objects.items() if (k, n) == (kind, name))
        return found

    def kinds(self) -> list[str]:
        """Of every object, sorted."""
        return sorted(kind for _, kind, _, _ in self.objects)

    def remove(self, kind: str, name: str) -> None:
        """Deletes an object, as somebody else does."""
        (place,) = (place for place in self.objects if (place[1], place[3]) == (kind, name))
        self._version += 1
        self._tell(place, "DELETED", self.objects.pop(place))

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        self.gets += 1
        return copy.deepcopy(self.objects.get((resource.group, resource.kind, namespace, name)))

    async def list(self, resource: Resource, namespace: str = "", labels: str = "") -> Listed:
        self.lists += 1
        key, _, value = labels.partition("=")
        found = [
            copy.deepcopy(one)
            for (group, kind, where, _), one in self.objects.items()
            if (group, kind) == (resource.group, resource.kind)
            and namespace in ("", where)
            and (not labels or (one["metadata"].get("labels") or {}).get(key) == value)
        ]
        return Listed(str(self._version), found)

    async def watch(
        self, resource: Resource, namespace: str, resource_version: str, labels: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        seen = 0
        while True:
            for place, event in self._events[seen:]:
                late = int(event.object["metadata"]["resourceVersion"]) > int(resource_version)
                if place[:2] == (resource.group, resource.kind) and namespace in ("", place[2]) and late:
                    yield event
            seen = len(self._events)
            async with self._told:
                await self._told.wait_for(lambda seen=seen: len(self._events) > seen)  # type: ignore[misc]

    async def apply(
        self, resource: Resource, wanted: Object, manager: str, *, force: bool = False, dry_run: bool = False
    ) -> Object:
        metadata = wanted["metadata"]
        if (failure := self.refuse.get((resource.kind, metadata["name"]))) and not (force and failure.status == 409):
            raise failure
        if dry_run:
            return wanted
        self.writes.append(("apply", resource.kind, metadata["name"]))
        return self.put(wanted)

    async def create(self, resource: Resource, wanted: Object) -> Object:
        if await self.get(resource, wanted["metadata"].get("namespace", ""), wanted["metadata"]["name"]):
            raise ApiFailure("409: already exists", 409)
        self.writes.append(("create", resource.kind, wanted["metadata"]["name"]))
        return self.put(wanted)

    async def replace(self, resource: Resource, wanted: Object, subresource: str = "") -> Object:
        metadata = wanted["metadata"]
        old = await self.get(resource, metadata.get("namespace", ""), metadata["name"])
        if old is None or old["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ApiFailure("409: the object has been modified", 409)
        self.writes.append((f"replace {subresource}".strip(), resource.kind, metadata["name"]))
        return self.put(old | {"status": wanted["status"]} if subresource else wanted)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str = "") -> bool:
        self.writes.append(("delete", resource.kind, name))
        place = (resource.group, resource.kind, namespace, name)
        if place not in self.objects:
            return False
        self.remove(resource.kind, name)
        return True

    def _tell(self, place: Place, kind: str, one: Object) -> None:
        self._events.append((place, WatchEvent(kind, {**copy.deepcopy(one), "metadata": one["metadata"]})))

        async def notify() -> None:
            async with self._told:
                self._told.notify_all()

        with suppress(RuntimeError):
            asyncio.get_running_loop().create_task(notify())


def made(kind: str, name: str, spec: dict[str, Any], namespace: str = "ai", **metadata: Any) -> Object:
    """An object of our kinds."""
    head = {"apiVersion": "ai.istio.io/v1alpha1", "kind": kind}
    return {**head, "metadata": {"name": name, "namespace": namespace, **metadata}, "spec": spec}
