"""What is found of the GPU pools of a cluster, for `extproc pools`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from extproc.kubernetes.api import PODS, POLICIES, POOLS, Api, Object, Resource
from extproc.kubernetes.cluster_view import ClusterView
from extproc.kubernetes.desired_state import Desired, DesiredState

NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
SERVICES = Resource("", "v1", "services", "Service")
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")


class PoolRow(msgspec.Struct, frozen=True):
    """One pool."""

    namespace: str
    name: str
    product: str
    """Or what is known instead: an architecture, a family."""
    memory: int
    """MiB of one GPU or slice; 0: unknown."""
    mig: str
    nodes: tuple[str, ...]
    gpus: int
    endpoints: int | None
    """That take requests; None: the pool is not found by its nodes, and its endpoints are those that it names."""
    free: float | None
    """The share of it that is free, as processors were told; None: nobody told."""
    problem: str
    waiting: float | None = None
    """Requests that wait at its servers, those that are picked; None: nobody told."""
    in_flight: float | None = None
    """Requests that processors have sent to them and that have not ended; None: nobody told."""


async def read_rows(api: Api, namespaces: Sequence[str], free: Mapping[str, float]) -> list[PoolRow]:
    """The pools in ``namespaces`` (none: all). ``free``: by pool. Raises ``ApiFailure``."""

    async def listed(resource: Resource) -> list[Object]:
        told = {"apiVersion": resource.api_version, "kind": resource.kind}
        places = (namespaces or ("",)) if resource.namespaced else ("",)
        return [one | told for place in places for one in (await api.list(resource, place)).objects]

    view = ClusterView(*[await listed(resource) for resource in (NODES, SERVICES, SLICES, PODS)])
    objects = [one for resource in (POLICIES, POOLS) for one in await listed(resource)]
    return rows(DesiredState().take(objects, view), free)


def rows(desired: Desired, free: Mapping[str, float]) -> list[PoolRow]:
    """The pools among what was taken, by namespace and name."""
    pools = desired.snapshot.pool_by_name
    found = []
    for key, told in sorted(desired.told.items()):
        if key.kind != POOLS.kind:
            continue
        pool = pools.get(key.name)
        gpu = pool.gpu if pool is not None and key in desired.in_force else told.found.gpu
        by_nodes = bool(pool and pool.node_selector)
        problems = [problem.message for problem in told.problems if not problem.warning]
        problems += [message for _, message in told.missing]
        found.append(
            PoolRow(
                key.namespace,
                key.name,
                gpu.product or gpu.architecture or gpu.family,
                gpu.memory,
                told.found.mig,
                told.found.nodes,
                told.found.count,
                told.endpoints if by_nodes else None,
                free.get(key.name),
                "; ".join(problems),
            )
        )
    return found
