"""The snapshot whose rendering serves requests decided by either of two others. Pure.

While processors change from one set of policies to another, one after the other, the mesh needs what both need: every
target of the earlier set beside those of the later one, and the filters that show processors what either reads. It is
for renderers only; nobody decides by it.

Where both give the same headers another meaning (a model that moves to another policy with a version of the same name),
the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

import msgspec

from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, Snapshot, Sticky, Version
from extproc.policy.target import Target


class Transition(Snapshot, frozen=True, dict=True):
    """What ``Snapshot`` is, with ``served`` as its targets."""

    served: Mapping[tuple[str, str], tuple[Target, ...]] = MappingProxyType({})

    @cached_property
    def targets(self) -> dict[tuple[str, str], tuple[Target, ...]]:
        """The targets of both snapshots."""
        return dict(self.served)


def between(earlier: Snapshot, later: Snapshot) -> Snapshot:
    """The snapshot for the way from ``earlier`` to ``later``; ``later`` itself where they have the same contents."""
    if (earlier.policies, earlier.pools) == (later.policies, later.pools):
        return later
    taken = {model for policy in later.policies for model in policy.models}
    policies = [_both(earlier.by_name.get(policy.name), policy, taken) for policy in later.policies]
    for policy in earlier.policies:
        if policy.name not in later.by_name:
            models = tuple(model for model in policy.models if model not in taken)
            taken.update(models)
            policies.append(msgspec.structs.replace(policy, models=models))
    pools = (*later.pools, *_others(earlier.pools, later.pools))
    served = {
        (policy.name, version.name): _targets(earlier, later, (policy.name, version.name))
        for policy in policies
        for version in policy.versions or (Version(""),)
    }
    return Transition(tuple(policies), pools, later.generation, served=served)


def _targets(earlier: Snapshot, later: Snapshot, key: tuple[str, str]) -> tuple[Target, ...]:
    """Of a target on the same pool its later endpoints: those that are gone serve nobody."""
    found = later.targets.get(key, ())
    pools = {target.pool for target in found}
    return (*found, *(target for target in earlier.targets.get(key, ()) if target.pool not in pools))


def _both(old: Policy | None, new: Policy, taken: set[str]) -> Policy:
    if old is None or old == new:
        return new
    models = [model for model in old.models if model not in taken]
    taken.update(models)
    metrics = {metric.name for metric in new.custom_metrics}
    return msgspec.structs.replace(
        new,
        models=(*new.models, *models),
        versions=_versions(old, new),
        allow_pin=old.allow_pin or new.allow_pin,
        body_limit=max(old.body_limit, new.body_limit),
        path_prefixes=tuple(dict.fromkeys((*new.path_prefixes, *old.path_prefixes))),
        custom_metrics=(*new.custom_metrics, *(m for m in old.custom_metrics if m.name not in metrics)),
    )


def _versions(old: Policy, new: Policy) -> tuple[Version, ...]:
    """The versions of both; those that are leaving get no share of requests without headers.

    A policy without versions has one without a name. It comes last: the route to it takes every version.
    """
    if not old.versions and not new.versions:
        return ()
    earlier = {version.name: version for version in old.versions or (Version(""),)}
    # Of a match renderers read the names of its headers only, which the processor is to be shown. Where users stay on a
    # version by another header from now on, it is shown the earlier one as well.
    shown = _shown(old.sticky) if old.sticky != new.sticky else ()
    found = []
    for version in new.versions or (Version(""),):
        before = earlier.pop(version.name, version)
        matches = tuple(dict.fromkeys((*version.match, *before.match, *shown)))
        rewrite = version.model_rewrite or before.model_rewrite
        found.append(msgspec.structs.replace(version, match=matches, model_rewrite=rewrite))
    found += (msgspec.structs.replace(version, weight=0) for version in earlier.values())
    return tuple(sorted(found, key=lambda version: not version.name))


def _shown(sticky: Sticky | None) -> tuple[HeaderMatch, ...]:
    name = (sticky.header or ("cookie" if sticky.cookie else "")) if sticky else ""
    return (HeaderMatch(((name, b""),)),) if name else ()


def _others(earlier: Iterable[GpuPool], later: Iterable[GpuPool]) -> tuple[GpuPool, ...]:
    names = {pool.name for pool in later}
    return tuple(pool for pool in earlier if pool.name not in names)
