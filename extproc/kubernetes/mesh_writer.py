"""Writes the mesh's objects: server-side apply under one field manager, what is somebody else's left alone."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from extproc.kubernetes.api import Api, ApiFailure, Object, Resource
from extproc.kubernetes.mesh_objects import LABEL, LEASE, Changes, Doc, Key, key_of
from extproc.kubernetes.ownership import Ownership

MANAGER = "aimesh-controller"
"""Field manager of everything that the controller writes."""
PARALLEL = 8
"""Requests at a time."""
FEW = 3
"""New objects of a kind in a namespace that are looked for one by one; more by a list of all that are there."""
_REFUSALS = frozenset({400, 403, 404, 405, 409, 413, 415, 422})
"""Statuses that say something of the object, not of the server: another try would get the same."""

ISTIO = tuple(
    Resource(group, version, plural, kind)
    for group, version, plural, kind in (
        ("networking.istio.io", "v1", "serviceentries", "ServiceEntry"),
        ("networking.istio.io", "v1", "destinationrules", "DestinationRule"),
        ("networking.istio.io", "v1", "virtualservices", "VirtualService"),
        ("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter"),
        ("telemetry.istio.io", "v1", "telemetries", "Telemetry"),
        ("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule"),
    )
)
LINKERD = tuple(
    Resource(group, version, plural, kind)
    for group, version, plural, kind in (
        ("", "v1", "services", "Service"),
        ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
        ("", "v1", "serviceaccounts", "ServiceAccount"),
        ("", "v1", "configmaps", "ConfigMap"),
        ("apps", "v1", "deployments", "Deployment"),
        ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
        ("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
        ("policy.linkerd.io", "v1beta3", "servers", "Server"),
        ("policy.linkerd.io", "v1alpha1", "authorizationpolicies", "AuthorizationPolicy"),
        ("policy.linkerd.io", "v1alpha1", "meshtlsauthentications", "MeshTLSAuthentication"),
    )
)
"""The kinds that are rendered for each mesh, in the versions of the API that are rendered."""
GATEWAY_KINDS = ("ServiceAccount", "ConfigMap", "Deployment", "PodDisruptionBudget")
"""Kinds of which Linkerd's inference gateway alone has objects."""


class MeshWriter:
    """The objects of one mesh. ``live``: those that this controller made, as the server has them."""

    def __init__(
        self,
        mesh: str,
        ownership: Ownership,
        resources: Iterable[Resource],
        places: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``places``: kinds whose objects are in one namespace only, with that; all others may be in any."""
        self.mesh = mesh
        self._ownership = ownership
        self._resources = {(one.group, one.kind): one for one in resources}
        self._places = places
        self.live: dict[Key, Object] = {}
        self._refused: set[Key] = set()

    async def read(self, api: Api) -> None:
        """Lists ``live`` anew. A kind that the server does not know has none. Raises ``ApiFailure``."""
        found: dict[Key, Object] = {}
        for resource in self._resources.values():
            try:
                listed = await api.list(resource, self._places.get(resource.kind, ""), f"{LABEL}={self.mesh}")
            except ApiFailure as failure:
                if failure.status == 404:
                    continue
                raise
            told = {"apiVersion": resource.api_version, "kind": resource.kind}
            mine = (one | told for one in listed.objects if self._is_mine(one))
            found |= {key_of(one): one for one in mine}
        self.live = found

    async def write(self, api: Api, changes: Changes, check: Callable[[], None]) -> dict[Key, str]:
        """Writes ``changes``. Returns why objects could not be written. ``check`` raises where nothing may be written
        any more. Raises ``ApiFailure`` where the server can't be asked.
        """
        limit = asyncio.Semaphore(PARALLEL)
        failures: dict[Key, str] = {}

        async def apply(doc: Doc, other: Object | ApiFailure | None) -> None:
            async with limit:
                check()
                key = key_of(doc)
                self._refused.discard(key)
                if why := await self._apply(api, doc, other):
                    failures[key] = why
                    self._refused.add(key)

        for docs in (changes.first, changes.apply):
            there = await self._others(api, docs)
            calls = [apply(doc, there.get(key_of(doc))) for doc in docs]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                if outcome is not None:
                    raise outcome
        for gone in changes.remove:
            check()
            await self._remove(api, gone)
        return failures

    async def still_refused(self, api: Api, wanted: Mapping[Key, Doc]) -> dict[Key, str]:
        """Why those of ``wanted`` that could not be written when it was tried last can't be now either. Nothing is
        written: what they go with would be made, and removed again, in every pass. Raises ``ApiFailure``.
        """
        docs = [wanted[key] for key in sorted(self._refused & wanted.keys())]
        there = await self._others(api, docs)
        failures = {}
        for key, doc in ((key_of(doc), doc) for doc in docs):
            if why := await self._apply(api, doc, there.get(key), dry_run=True):
                failures[key] = why
            else:
                self._refused.discard(key)
        return failures

    def _is_mine(self, one: Mapping[str, Any]) -> bool:
        return (one["metadata"].get("annotations") or {}).get(LEASE) == self._ownership.lease

    async def _others(self, api: Api, docs: Iterable[Doc]) -> dict[Key, Object | ApiFailure]:
        """Of the objects that are new to this controller, those that are there all the same, and why some can't be
        looked for.
        """
        places: dict[tuple[str, str, str], set[Key]] = defaultdict(set)
        for key in map(key_of, docs):
            if key not in self.live:
                places[key.group, key.kind, key.namespace].add(key)
        found: dict[Key, Object | ApiFailure] = {}
        for (group, kind, namespace), keys in places.items():
            resource = self._resources[group, kind]
            try:
                if len(keys) > FEW:
                    told = {"apiVersion": resource.api_version, "kind": resource.kind}
                    listed = await api.list(resource, namespace)
                    found |= {key: one for one in listed.objects if (key := key_of(one | told)) in keys}
                else:
                    each = [(key, await api.get(resource, namespace, key.name)) for key in keys]
                    found |= {key: one for key, one in each if one is not None}
            except ApiFailure as failure:
                if failure.status not in _REFUSALS:
                    raise
                found |= dict.fromkeys(keys, failure)
        return found

    async def _apply(self, api: Api, doc: Doc, other: Object | ApiFailure | None, *, dry_run: bool = False) -> str:
        """Why the object could not be applied; empty where it was. ``other``: as it is, where it isn't ``live``."""
        if isinstance(other, ApiFailure):
            return str(other)
        key = key_of(doc)
        resource = self._resources[key.group, key.kind]
        live = self.live.get(key) or other
        metadata = doc["metadata"]
        annotations = {**metadata["annotations"], LEASE: self._ownership.lease}
        mine = {**doc, "metadata": {**metadata, "annotations": annotations}}
        try:
            if other is not None and (why := await self._keeps_off(api, other)):
                return why
            others = _appliers(live) if live is not None else []
            try:
                applied = await api.apply(resource, mine, MANAGER, dry_run=dry_run)
            except ApiFailure as failure:
                if failure.status != 409 or others:
                    raise
                # Who edited the object by hand has drifted; who applies fields declares that they are theirs.
                applied = await api.apply(resource, mine, MANAGER, force=True, dry_run=dry_run)
        except ApiFailure as failure:
            if failure.status not in _REFUSALS:
                raise
            return str(failure)
        if not dry_run:
            self.live[key] = applied
        return ""

    async def _keeps_off(self, api: Api, other: Object) -> str:
        """Why an object is not this controller's to write; empty where it is."""
        if (other["metadata"].get("labels") or {}).get(LABEL) != self.mesh:
            return f"is there, and not the controller's; delete it, or label it {LABEL}={self.mesh}"
        lease = (other["metadata"].get("annotations") or {}).get(LEASE, "")
        if await self._ownership.is_others(api, lease):
            return f"is there, and belongs to the controller of the Lease {lease}"
        return ""

    async def _remove(self, api: Api, live: Mapping[str, Any]) -> None:
        """Deletes an object; of one that others apply fields to, takes back only what is the controller's."""
        key = key_of(live)
        resource, metadata = self._resources[key.group, key.kind], live["metadata"]
        if _appliers(live):
            bare = {"apiVersion": resource.api_version, "kind": resource.kind}
            await api.apply(resource, {**bare, "metadata": {"name": key.name, "namespace": key.namespace}}, MANAGER)
        else:
            await api.delete(resource, key.namespace, key.name, str(metadata.get("uid", "")))
        self.live.pop(key, None)


def _appliers(live: Mapping[str, Any]) -> list[str]:
    """Who else has applied fields of an object, by ``metadata.managedFields`` (server-side apply)."""
    entries = live["metadata"].get("managedFields") or ()
    return [e["manager"] for e in entries if e.get("operation") == "Apply" and e.get("manager") != MANAGER]
