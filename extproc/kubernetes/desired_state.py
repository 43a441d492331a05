"""What is to be in force, of the objects and the cluster as they are, and what is to be told of each object. Pure.

An object is taken with what the cluster tells: a pool with what its nodes are, a policy with the endpoints of its
versions. A version that nobody serves yet gets no requests until somebody does; one that is in force and loses its last
endpoint keeps its share, since the others were not asked to take it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from extproc.errors import Problem
from extproc.kubernetes.api import POLICIES, Object
from extproc.kubernetes.cluster_view import ClusterView, missing_services
from extproc.kubernetes.conditions import InForce, VersionStatus
from extproc.kubernetes.last_good import LastGood
from extproc.kubernetes.object_documents import Key, ReadObject, key_of, read
from extproc.kubernetes.pool_discovery import FoundPool, resolved_policy, resolved_pool
from extproc.kubernetes.rollout_in_status import reconciled, state_of, with_state
from extproc.kubernetes.route_weights import with_weights
from extproc.kubernetes.service_endpoints import Endpoint, usable
from extproc.policy.rollout_plan import RolloutState
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policyfile.kinds import API_VERSION
from extproc.policyfile.rollout_files import DIRECTORY_STATE, encode_states
from extproc.render.document import to_yaml

Ready = Mapping[str, Sequence[Endpoint] | None]
"""By version, the endpoints that take requests; None: they are outside the cluster."""


class Told(msgspec.Struct, frozen=True):
    """What is to be told of an object, but for the mesh."""

    problems: tuple[Problem, ...] = ()
    """Of its spec by itself, and warnings."""
    conflicts: tuple[Problem, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    """What its spec refers to and is not there: reasons, each with its message."""
    versions: tuple[VersionStatus, ...] = ()
    """With the weights of its spec."""
    rolled_out: Policy | None = None
    """The policy as it is to be in force, with the weights of its spec, where a rollout of it is driven."""
    found: FoundPool = FoundPool()
    endpoints: int = 0
    """Of a pool, those that take requests."""


class Desired(msgspec.Struct, frozen=True):
    """All of it. ``in_force``: the objects that are to be, and no others."""

    snapshot: Snapshot
    in_force: Mapping[Key, InForce]
    serving: Mapping[Key, ReadObject]
    """The same, as it was read."""
    told: Mapping[Key, Told]


class DesiredState:
    """Remembers each object's last good spec from one ``take`` to the next; at first the one in force."""

    def __init__(self, *, drives: bool = False) -> None:
        """``drives``: whether rollouts are driven; else new versions stay at 0 percent."""
        self._last_good: LastGood | None = None
        self._drives = drives

    def take(
        self, objects: Iterable[Object], view: ClusterView, *, without: Iterable[Key] = (), now: float = 0.0
    ) -> Desired:
        """``without``: objects that can't be carried out as they are now: they go on as they are in force. ``now``:
        Unix time.
        """
        known = {key_of(one): one for one in objects}
        if self._last_good is None:
            self._last_good = LastGood()
            self._last_good.take(_as_in_force(known.values()))
        taking = _Taking(known, view, self._drives)
        specs = taking.specs()
        blocked = set(without)
        wanted = [_read(known[key], spec) for key, spec in specs.items() if key not in blocked]
        wanted += _as_in_force(known[key] for key in blocked if key in known)
        taken = self._last_good.take(wanted)
        serving = self._last_good.serving
        in_force = {key: _in_force(known.get(key), one, specs.get(key)) for key, one in serving.items() if key in known}
        problems: dict[str, list[Problem]] = defaultdict(list)
        for problem in (*taken.problems, *taken.warnings):
            problems[problem.file].append(problem)
        told = {key: taking.told(key, serving.get(key), problems) for key in known}
        policies = tuple(_rolled_out(policy, known, told, now) for policy in taken.snapshot.policies)
        snapshot = msgspec.structs.replace(taken.snapshot, policies=policies)
        return Desired(snapshot, in_force, {key: serving[key] for key in in_force}, told)


def in_force_of(one: Object) -> InForce | None:
    """What an object's status says is in force; None: nothing."""
    found = (one.get("status") or {}).get("inForce")
    return InForce(int(found["generation"]), found["spec"]) if found else None


def next_rollout(one: Object, told: Told, now: float) -> RolloutState | None:
    """How far the rollout of a policy has come, as its status is to say. ``now``: Unix time."""
    policy = told.rolled_out
    if policy is None or policy.rollout is None:
        return None
    ready = all(version.ready != 0 for version in told.versions if version.name == policy.rollout.to)
    return reconciled(policy, state_of(one), ready, now)


def in_force(objects: Iterable[Object], leaving: Mapping[Key, ReadObject]) -> dict[Key, ReadObject]:
    """What processors decide by at present: objects as their status says, and those that have gone (``leaving``)."""
    found = {one.key: one for one in (read(each) for each in objects if in_force_of(each)) if one.right}
    return {**{key: one for key, one in leaving.items() if key not in found}, **found}


def snapshot_of(objects: Mapping[Key, ReadObject], generation: int = 1) -> Snapshot:
    """The snapshot of objects that are right, oldest first."""
    values = [one.document.value for _, one in sorted(objects.items(), key=_age) if one.document]
    policies = tuple(value for value in values if isinstance(value, Policy))
    return Snapshot(policies, tuple(value for value in values if isinstance(value, GpuPool)), generation)


def policy_texts(desired: Desired) -> dict[str, str]:
    """The objects that are to be in force as policy files, by the files' names, and how far rollouts have come."""
    states = [policy.rollout_state for policy in desired.snapshot.policies if policy.rollout_state is not None]
    texts = {DIRECTORY_STATE: encode_states(states)} if states else {}
    for key, one in sorted(desired.in_force.items()):
        metadata = {"name": key.name, "namespace": key.namespace}
        doc = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "spec": dict(one.spec)}
        texts[f"{key.kind.lower()}-{key.namespace}-{key.name}.yaml"] = to_yaml(doc)
    return texts


def _age(item: tuple[Key, ReadObject]) -> tuple[str, Key]:
    return item[1].created, item[0]


def _read(one: Object, spec: Mapping[str, Any]) -> ReadObject:
    return read({**{name: value for name, value in one.items() if name != "status"}, "spec": dict(spec)})


def _as_in_force(objects: Iterable[Object]) -> list[ReadObject]:
    """Those that have a spec in force as it says, without what their rollouts have come to."""
    return [_read(one, found.spec) for one in objects if (found := in_force_of(one))]


def _rolled_out(policy: Policy, known: Mapping[Key, Object], told: Mapping[Key, Told], now: float) -> Policy:
    key = Key(POLICIES.kind, policy.namespace, policy.name)
    return with_state(policy, next_rollout(known[key], told[key], now)) if key in known else policy


def _in_force(one: Object | None, serving: ReadObject, wanted: Mapping[str, Any] | None) -> InForce:
    """With the generation of the spec that serves: the object's, or where another one had to stay, that one's."""
    before = in_force_of(one) if one else None
    if serving.spec == wanted or before is None:
        generation = int(one["metadata"].get("generation") or 1) if one else 1
        return InForce(generation, serving.spec)
    return InForce(before.generation, serving.spec)


class _Taking:
    """The objects with what the cluster tells of them."""

    def __init__(self, objects: Mapping[Key, Object], view: ClusterView, drives: bool) -> None:
        self._objects, self._view, self._drives = objects, view, drives
        self._policies: dict[Key, Policy] = {}
        self._pools: dict[Key, GpuPool] = {}
        for key, one in objects.items():
            document = _read(one, one.get("spec") or {}).document
            if document is not None and isinstance(document.value, Policy):
                self._policies[key] = document.value
            elif document is not None and isinstance(document.value, GpuPool):
                self._pools[key] = document.value
        self._ready: dict[Key, Ready] = {key: self._versions(policy) for key, policy in self._policies.items()}
        self._found = {key: view.nodes.of(pool) for key, pool in self._pools.items()}
        self._endpoints = [e for ready in self._ready.values() for found in ready.values() for e in found or ()]

    def _versions(self, policy: Policy) -> Ready:
        versions = policy.versions or (Version(""),)
        found = {version.name: self._view.of_version(policy, version) for version in versions}
        return {name: None if endpoints is None else usable(endpoints) for name, endpoints in found.items()}

    def specs(self) -> dict[Key, Mapping[str, Any]]:
        """The spec of each object, with what the cluster tells."""
        specs: dict[Key, Mapping[str, Any]] = {key: one.get("spec") or {} for key, one in self._objects.items()}
        pools = []
        for key in self._pools:
            before = in_force_of(self._objects[key])
            specs[key] = resolved_pool(
                specs[key], self._found[key], self._endpoints, before.spec if before is not None else {}
            )
            document = _read(self._objects[key], specs[key]).document
            if document is not None and isinstance(document.value, GpuPool):
                pools.append(document.value)
        for key, policy in self._policies.items():
            ready = self._ready[key]
            known = {name: found for name, found in ready.items() if found is not None}
            if _versions_of(specs[key]):
                specs[key] = self._weighted(specs[key], policy, in_force_of(self._objects[key]))
                specs[key] = _waiting(resolved_policy(specs[key], policy, pools, known), self._objects[key], ready)
            elif not policy.versions:
                specs[key] = resolved_policy(specs[key], policy, pools, known)
        return specs

    def _weighted(self, spec: Mapping[str, Any], policy: Policy, before: InForce | None) -> Mapping[str, Any]:
        """``spec`` with the weights of the route that it names, or where that has none, with those in force."""
        if policy.weights_from is None:
            return spec
        weights = self._view.route_weights(policy.weights_from, policy.namespace)
        if weights is None and before is not None:
            known = {version["name"]: version.get("weight", 1) for version in _versions_of(before.spec)}
            weights = {name: known[name] for name, _ in policy.weights_from.backends if name in known}
        spec = {name: value for name, value in spec.items() if name != "weightsFrom"}
        return with_weights(spec, weights) if weights and any(weights.values()) else spec

    def told(self, key: Key, serving: ReadObject | None, problems: Mapping[str, Sequence[Problem]]) -> Told:
        """What is to be told of an object; ``problems``: by what the objects are called, with kind or without."""
        mine = tuple(problems.get(str(key), ()))
        if key.kind != POLICIES.kind:
            found = self._found.get(key, FoundPool())
            here = sum(e.node in found.nodes for e in {each.address: each for each in self._endpoints}.values())
            unmatched = (("NoMatchingNode", found.problem),) if found.problem else ()
            return Told(mine, missing=unmatched, found=found, endpoints=here)
        policy, ready = self._policies.get(key), self._ready.get(key, {})
        serves = serving.document.value if serving is not None and serving.document else None
        versions = serves.answering if isinstance(serves, Policy) else ()
        rolled_out = serves if self._drives and isinstance(serves, Policy) and serves.rollout else None
        return Told(
            mine,
            tuple(problems.get(f"{key.namespace}/{key.name}", ())),
            tuple(self._missing(policy, ready)) if policy is not None else (),
            tuple(VersionStatus(v.name, v.weight, _count(ready.get(v.name))) for v in versions),
            rolled_out,
        )

    def _missing(self, policy: Policy, ready: Ready) -> Iterable[tuple[str, str]]:
        for host in missing_services(self._view, policy):
            yield "ServiceNotFound", f"no Service has the name {host}; create it, or correct the host"
        for name, found in ready.items():
            if found is not None and not found:
                what = f"the version {name}" if name else "the policy"
                yield "NoReadyEndpoints", f"{what} has no endpoint that is ready; it waits for pods"
        wanted = policy.weights_from
        if wanted is not None and self._view.route_weights(wanted, policy.namespace) is None:
            backends = " and ".join(name for _, name in wanted.backends)
            message = f"the {wanted.kind} {wanted.name} has no weights for {backends}; those in force stay"
            yield "WeightsNotFound", message


def _count(found: Sequence[Endpoint] | None) -> int | None:
    return None if found is None else len(found)


def _versions_of(spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Empty where one of them has no name: the whole is wrong, which reading it tells."""
    versions = spec.get("versions")
    if isinstance(versions, list) and all(isinstance(v, dict) and isinstance(v.get("name"), str) for v in versions):
        return versions
    return ()


def _waiting(spec: Mapping[str, Any], one: Object, ready: Ready) -> Mapping[str, Any]:
    """``spec`` without a share for versions that nobody serves and that have none in force either."""
    before = in_force_of(one)
    shares = {v["name"]: v.get("weight", 1) for v in _versions_of(before.spec)} if before else {}
    shares |= {state.to: state.percent} if (state := state_of(one)) else {}
    versions = _versions_of(spec)
    answering = [version["name"] for version in versions if "mirror" not in version]
    waiting = {name for name in answering if not shares.get(name) and ready.get(name) == ()}
    left = {v["name"]: v.get("weight", 1) for v in versions if v["name"] in answering and v["name"] not in waiting}
    if not waiting or not any(left.values()):
        return spec
    return {**spec, "versions": [_share(version, left, waiting) for version in versions]}


def _share(version: Mapping[str, Any], left: Mapping[str, int], waiting: set[str]) -> Mapping[str, Any]:
    if version["name"] in waiting:
        return {**{name: value for name, value in version.items() if name != "match"}, "weight": 0}
    return {**version, "weight": left[version["name"]]} if version["name"] in left else version
