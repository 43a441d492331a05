"""Whose an object is, among several controllers of one cluster: each is known by its Lease."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from extproc.kubernetes.api import Api, ApiFailure, Object, Resource
from extproc.kubernetes.object_documents import Key

log = logging.getLogger(__name__)

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")


class Ownership:
    """The controllers beside this one. ``lease``: this one's, ``namespace/name``."""

    def __init__(self, lease: str) -> None:
        self.lease = lease
        self._told: dict[Key, str] = {}

    async def others(self, api: Api, objects: Mapping[Key, Object]) -> list[Key]:
        """The policies and pools that another controller carries out, by their status. Raises ``ApiFailure``."""
        marks = {key: str((one.get("status") or {}).get("controller", "")) for key, one in objects.items()}
        theirs = {mark for mark in set(marks.values()) if await self.is_others(api, mark)}
        found = {key: mark for key, mark in marks.items() if mark in theirs}
        for key, mark in found.items():
            if self._told.get(key) != mark:
                log.warning("%s is left to the controller of the Lease %s", key, mark)
        self._told = found
        return list(found)

    async def is_others(self, api: Api, lease: str) -> bool:
        """Whether what has the mark ``lease`` is another controller's; one whose Lease was deleted is no more.

        A Lease that this controller may not read is there. Raises ``ApiFailure`` where the server can't be asked.
        """
        namespace, _, name = lease.partition("/")
        if lease == self.lease or not name:
            return False
        try:
            return await api.get(LEASES, namespace, name) is not None
        except ApiFailure as failure:
            if failure.status == 403:
                return True
            raise
