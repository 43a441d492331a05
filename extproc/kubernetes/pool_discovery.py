"""GPU pools by the Nodes that they select: their GPUs, and the endpoints on them. Pure.

A pool with ``nodeSelector`` is filled in from the cluster, in the very fields that a person would write: ``product``,
``architecture``, ``memory`` and ``endpoints``. The versions of policies that use it get their own ``endpoints``, so
that a version's endpoints on a pool are those that both name. Everything else then reads plain specs.

A policy without versions has no place for endpoints of its own: on such a pool it gets all that is there. Nodes that
serve several policies need versions in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from extproc.kubernetes.endpoint_pods import with_pods
from extproc.kubernetes.node_gpus import NodeGpus, gpus_of_node
from extproc.kubernetes.service_endpoints import Endpoint
from extproc.policy.gpu import Gpu, Requirement, satisfies
from extproc.policy.snapshot import GpuPool, Policy
from extproc.policy.target import NOWHERE

Spec = Mapping[str, Any]


class FoundPool(msgspec.Struct, frozen=True):
    """What a pool's nodes are."""

    nodes: tuple[str, ...] = ()
    gpus: tuple[NodeGpus, ...] = ()
    """Those of its nodes that are as the pool says; where it says nothing, all."""
    gpu: Gpu = Gpu()
    """What they have in common; of memories the least."""
    problem: str = ""
    """Why the pool is not as its author means it; empty: it is."""
    unmatched: bool = False
    """No node has the labels that it selects by."""

    @property
    def count(self) -> int:
        """GPUs or slices."""
        return sum(each.count for each in self.gpus)

    @property
    def mig(self) -> str:
        """Profiles of the slices, each once."""
        return ", ".join(sorted({each.mig for each in self.gpus if each.mig}))


class Nodes:
    """The Nodes of a cluster, with their GPUs read once."""

    def __init__(self, nodes: Iterable[Mapping[str, Any]] = ()) -> None:
        self._known = []
        for node in nodes:
            metadata = node["metadata"]
            labels = frozenset((metadata.get("labels") or {}).items())
            self._known.append((str(metadata["name"]), labels, gpus_of_node(node)))
        self._known.sort(key=lambda known: known[0])

    def of(self, pool: GpuPool) -> FoundPool:
        """The pool's nodes: those with all labels of its ``nodeSelector``, and a GPU as it says. Without a selector
        those with its very product.
        """
        wanted, declared = set(pool.node_selector), pool.gpu
        if not wanted and not declared.product:
            return FoundPool()
        selected = [(name, gpus) for name, labels, gpus in self._known if wanted <= labels]
        found = tuple(each for _, gpus in selected for each in gpus if _is(each.gpu, declared))
        names = tuple(dict.fromkeys(each.node for each in found))
        common = _common([each.gpu for each in found])
        return FoundPool(names, found, common, _problem(pool, selected, found), unmatched=not selected)


def _is(gpu: Gpu, declared: Gpu) -> bool:
    if declared.product:
        return gpu.product.lower() == declared.product.lower()
    return satisfies(gpu, Requirement(declared.architecture)) if declared.architecture else True


def _common(gpus: Sequence[Gpu]) -> Gpu:
    def same(values: Iterable[str]) -> str:
        kinds = set(values)
        return kinds.pop() if len(kinds) == 1 else ""

    return Gpu(
        same(g.product for g in gpus),
        same(g.architecture for g in gpus),
        same(g.family for g in gpus),
        same(g.capability for g in gpus),
        min((g.memory for g in gpus), default=0),
    )


def _problem(pool: GpuPool, selected: Sequence[tuple[str, Sequence[NodeGpus]]], found: Sequence[NodeGpus]) -> str:
    if not pool.node_selector:
        return ""
    labels = ", ".join(f"{key}={value}" for key, value in pool.node_selector)
    if not selected:
        return f"no node has the labels {labels}; label the nodes, or correct nodeSelector"
    if not found:
        names = _listed([name for name, _ in selected])
        what = f"the GPU {pool.gpu.product or pool.gpu.architecture}" if pool.gpu != Gpu() else "a GPU that is known"
        return f"none of the nodes with {labels} ({names}) has {what}; is GPU feature discovery running there?"
    kinds = {each.gpu.product or each.gpu.architecture for each in found}
    if len(kinds) > 1:
        return f"the nodes with {labels} have different GPUs ({_listed(sorted(kinds))}); name the product"
    return ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def resolved_pool(
    spec: Spec, found: FoundPool, endpoints: Iterable[Endpoint], before: Spec = MappingProxyType({})
) -> dict[str, Any]:
    """The pool's ``spec`` with what its nodes tell; what the spec itself says stays.

    ``endpoints``: those that take requests, of every policy. ``before``: the spec that is in force: where all nodes
    have gone since, as an autoscaler has it, the pool is what they were, and nobody is on it. A spec without
    ``nodeSelector`` stays as it is.
    """
    if not spec.get("nodeSelector"):
        return dict(spec)
    gpu = found.gpu
    given = "product" in spec or "architecture" in spec
    architecture = gpu.architecture or gpu.family or gpu.capability
    filled: dict[str, Any] = {}
    if found.unmatched and not given and before.get("nodeSelector") == spec["nodeSelector"]:
        filled = {name: before[name] for name in ("product", "architecture", "memory") if name in before}
    if gpu.product and not given:
        filled["product"] = gpu.product
    elif architecture and not given:
        filled["architecture"] = architecture
    if gpu.memory and (filled or given) and "memory" not in spec:
        filled["memory"] = f"{gpu.memory}Mi"
    there = sorted({each.address for each in endpoints if each.node in found.nodes})
    if "endpoints" not in spec:
        filled["endpoints"] = there or [NOWHERE]
    return {**spec, **filled}


def resolved_policy(
    spec: Spec, policy: Policy, pools: Sequence[GpuPool], ready: Mapping[str, Sequence[Endpoint]]
) -> dict[str, Any]:
    """The policy's ``spec`` with the endpoints of its versions, where a pool that it may use is found by its nodes.

    ``ready``: by version, the endpoints that take requests. A version without any has nobody, also off its pools
    (``onNoGpu: ignore``): the policy's own host would be the pods of other versions. With the pods of all endpoints,
    where the policy asks how busy their GPUs are.
    """
    by_nodes = [pool for pool in pools if pool.node_selector and _may_use(policy, pool)]
    if not by_nodes:
        return dict(spec)
    spec = with_pods(spec, (endpoint for found in ready.values() for endpoint in found))
    if not policy.versions:
        return dict(spec)
    versions = []
    for version in spec["versions"]:
        addresses = sorted(each.address for each in ready.get(version["name"], ()))
        versions.append(version if "endpoints" in version else {**version, "endpoints": addresses or [NOWHERE]})
    return {**spec, "versions": versions}


def _may_use(policy: Policy, pool: GpuPool) -> bool:
    if not pool.is_open_to(policy.namespace) or (policy.gpu is not None and not satisfies(pool.gpu, policy.gpu)):
        return False
    named = [version.gpu_pools for version in policy.versions] or [None]
    return any(pool.name in names if names is not None else policy.gpu is not None for names in named)
