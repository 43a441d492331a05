"""Which targets a version of a policy has: on each GPU pool that may serve it, or without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from extproc.policy.gpu import satisfies
from extproc.policy.target import Target

if TYPE_CHECKING:
    from extproc.policy.snapshot import GpuPool, Policy, Version


def targets_of(policy: Policy, version: Version, declared: Sequence[GpuPool]) -> tuple[Target, ...]:
    """The targets; empty where pools are ``declared`` and none can serve the version, and the policy wants one.

    A policy with neither ``gpuRequirements`` nor ``gpuPools`` has a target without a pool.
    """
    default = (f"{policy.host}:{policy.port}",)
    if version.gpu_pools is not None:
        by_name = {pool.name: pool for pool in declared}
        pools = [by_name[name] for name in version.gpu_pools if name in by_name]
    else:
        pools = list(declared) if policy.gpu else []
    pools = [pool for pool in pools if pool.is_open_to(policy.namespace)]
    plain = Target(policy.name, version.name, "", version.endpoints or default, version.upstream)
    if not pools:
        return (plain,)
    targets = []
    for pool in pools:
        if policy.gpu and not satisfies(pool.gpu, policy.gpu):
            continue
        endpoints = version.endpoints or pool.endpoints or default
        if version.endpoints and pool.endpoints:
            endpoints = tuple(e for e in version.endpoints if e in pool.endpoints)
        if endpoints:
            upstream = version.upstream.completed(pool.upstream, own_endpoints=bool(version.endpoints))
            targets.append(Target(policy.name, version.name, pool.name, endpoints, upstream))
    return tuple(targets) or (() if policy.reject_without_gpu else (plain,))
