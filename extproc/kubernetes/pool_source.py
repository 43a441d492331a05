"""The InferencePools for which a processor picks endpoints, followed with all that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from extproc.errors import Problem
from extproc.kubernetes.api import PODS, Object
from extproc.kubernetes.inference_fields import flaw_of
from extproc.kubernetes.object_watch import ObjectWatch
from extproc.kubernetes.pools_as_policies import (
    ACTIVE_PORTS,
    INFERENCE_POOLS,
    OBJECTIVES,
    REWRITES,
    Place,
    PoolObjects,
    place_of,
    with_pools,
)


class WantedPools(msgspec.Struct, frozen=True):
    """Which pools, each by ``namespace/name``."""

    pools: tuple[str, ...] = ()
    pickers: tuple[str, ...] = ()
    """Services: all pools of which they are the endpoint picker (``endpointPickerRef``)."""

    def __bool__(self) -> bool:
        return bool(self.pools or self.pickers)


class PoolSource:
    """Watches, to be run by whoever makes it; reads in their event loop."""

    def __init__(self, wanted: WantedPools, on_change: Callable[[], None]) -> None:
        """``on_change()``: as ``ObjectWatch`` has it."""
        self._named, self._pickers = _places(wanted.pools), _places(wanted.pickers)
        self._pools, self._objectives, self._rewrites, self._pods = (
            [
                ObjectWatch(resource, namespace, on_change, optional=optional, part=part)
                for namespace in sorted({place[0] for place in (*self._named, *self._pickers)})
            ]
            for resource, optional, part in (
                (INFERENCE_POOLS, False, _whole),
                (OBJECTIVES, True, _whole),
                (REWRITES, True, _whole),
                (PODS, False, part_of_pod),
            )
        )

    @property
    def watches(self) -> list[ObjectWatch]:
        """Those that must run."""
        return [*self._pools, *self._objectives, *self._rewrites, *self._pods]

    @property
    def missing(self) -> list[Problem]:
        """That a pool is not there that is wanted by its name. May be read in any thread."""
        absent = [place for place in self._named if not any(place in watch.objects for watch in self._pools)]
        message, remedy = "is not there, and its endpoints are to be picked", "create it, or serve without it"
        return [Problem(f"{INFERENCE_POOLS.kind} {'/'.join(place)}", 0, 0, "", message, remedy) for place in absent]

    @property
    def unread(self) -> list[str]:
        """Of the pools that are wanted by their names, why they can't be read: they are missing, or not as they must
        be. May be read in any thread.
        """
        named = [(place, watch.objects.get(place)) for place in self._named for watch in self._pools]
        flaws = [(place, flaw_of(one)) for place, one in named if one is not None]
        told = [f"{INFERENCE_POOLS.kind} {'/'.join(place)}: {flaw}" for place, flaw in flaws if flaw]
        return [*map(str, self.missing), *told]

    @property
    def readable(self) -> bool:
        """Whether one of the pools that are wanted is as it must be. May be read in any thread."""
        return any(not flaw_of(one) for one in _objects(self._pools) if self._is_wanted(one))

    def fill(self, objects: Iterable[Object]) -> tuple[list[Object], list[Problem]]:
        """The objects as the pools have them (``pools_as_policies.with_pools``), and what is wrong."""
        pools = [one for one in _objects(self._pools) if self._is_wanted(one)]
        found = PoolObjects(pools, _objects(self._objectives), _objects(self._rewrites), _objects(self._pods))
        filled, problems = with_pools(objects, found)
        return filled, [*self.missing, *problems]

    def _is_wanted(self, pool: Object) -> bool:
        place, spec = place_of(pool), pool.get("spec")
        ref = spec.get("endpointPickerRef") if isinstance(spec, dict) else None  # newer CRDs do not ask for one
        if place in self._named or not isinstance(ref, dict):
            return place in self._named
        is_service = ref.get("kind", "Service") == "Service" and not ref.get("group")
        return is_service and (place[0], str(ref.get("name"))) in self._pickers


def part_of_pod(pod: Object) -> Object:
    """What endpoints follow from: a Pod is long, and there may be a thousand."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    names = ("namespace", "name", "labels", "resourceVersion", "deletionTimestamp")
    kept = {name: metadata[name] for name in names if name in metadata}
    ports = (metadata.get("annotations") or {}).get(ACTIVE_PORTS)
    kept |= {"annotations": {ACTIVE_PORTS: ports}} if ports is not None else {}
    ready = [condition for condition in status.get("conditions") or () if condition.get("type") == "Ready"]
    shown = {name: status[name] for name in ("podIP", "hostIP", "phase") if name in status}
    return {"kind": PODS.kind, "metadata": kept, "status": {**shown, "conditions": ready}}


def _whole(found: Object) -> Object:
    return found


def _places(names: Iterable[str]) -> list[Place]:
    return [(namespace, name) for namespace, _, name in (text.partition("/") for text in names)]


def _objects(watches: Sequence[ObjectWatch]) -> list[Object]:
    return [one for watch in watches for one in watch.objects.values()]
