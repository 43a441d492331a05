"""InferencePools of the Gateway API's inference extension as policies: their pods are the endpoints. Pure.

A policy whose versions name InferencePools (``inferencePool``) is filled in from the cluster, in the very fields that a
person would write: ``endpoints`` and ``picking``. A pool that no policy names is a policy of its own, which owns every
model; the exact rules of its InferenceModelRewrites are policies as well. Everything else then reads plain specs.

Sources: kubernetes-sigs/gateway-api-inference-extension 1.5: InferencePool v1, InferenceObjective and
InferenceModelRewrite v1alpha2; the annotation and what makes a pod ready are those of llm-d's endpoint picker
(``pkg/epp/datastore``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from extproc.errors import Problem
from extproc.kubernetes.api import POLICIES, Object, Resource
from extproc.kubernetes.endpoint_pods import with_pods
from extproc.kubernetes.inference_fields import flaw_of
from extproc.kubernetes.model_rewrites import Rule, rules_of
from extproc.kubernetes.object_documents import key_of, spec_of
from extproc.kubernetes.service_endpoints import Endpoint, Pods, of_pods
from extproc.policy.target import NOWHERE
from extproc.policyfile.picking import MAX_OBJECTIVES, MAX_PRIORITY
from extproc.render import service_names

GROUP = "inference.networking.k8s.io"
INFERENCE_POOLS = Resource(GROUP, "v1", "inferencepools", "InferencePool")
OBJECTIVES = Resource("inference.networking.x-k8s.io", "v1alpha2", "inferenceobjectives", "InferenceObjective")
REWRITES = Resource("inference.networking.x-k8s.io", "v1alpha2", "inferencemodelrewrites", "InferenceModelRewrite")

ACTIVE_PORTS = "inference.networking.k8s.io/active-ports"
"""Annotation of a pod: those of the pool's ports on which it serves, separated by commas; without it all."""
DEFAULT_SERVERS = "vllm"
"""Type of the servers whose pages are read where nothing else is said: what other endpoint pickers expect as well."""
_MAX_NAME = 63
"""Characters of a policy's and a version's name, and of what ``picking.objectives`` names."""

Spec: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, str]
"""Namespace and name."""


class PoolObjects(msgspec.Struct, frozen=True):
    """The objects at one moment: the pools that are served, and whatever is in their namespaces."""

    pools: Sequence[Object] = ()
    objectives: Sequence[Object] = ()
    rewrites: Sequence[Object] = ()
    pods: Sequence[Object] = ()


def with_pools(objects: Iterable[Object], found: PoolObjects) -> tuple[list[Object], list[Problem]]:
    """The objects, policies filled in, and those that pools make; and what is wrong."""
    filling = _Filling(found)
    known = [filling.filled(one) if one["kind"] == POLICIES.kind else one for one in objects]
    return [*known, *filling.made(known)], list(filling.problems)


def place_of(one: Object) -> Place:
    """Where an object is."""
    metadata = one["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])


class _Filling:
    def __init__(self, found: PoolObjects) -> None:
        self.problems: dict[Problem, None] = {}
        """Each once, in the order in which they were found."""
        self._pods = Pods(found.pods)
        self._pools = {place_of(one): one for one in self._readable(found.pools)}
        self._objectives, self._rewrites = self._readable(found.objectives), self._readable(found.rewrites)
        self._found: dict[tuple[Place, tuple[tuple[str, str], ...]], list[Endpoint]] = {}
        """Of pools, by the labels that are asked for beside theirs."""
        self._named: set[Place] = set()
        """Pools of policies."""

    def _readable(self, objects: Iterable[Object]) -> list[Object]:
        """Those that can be read, the oldest first."""
        found = []
        for one in sorted(objects, key=_age):
            if flaw := flaw_of(one):
                self._tell(one, "spec", f"counts for nothing: {flaw}", "write it as the kind's documentation has it")
            else:
                found.append(one)
        return found

    def filled(self, policy: Object) -> Object:
        """The policy with the endpoints of the pools that it names, and what goes with them."""
        spec, (namespace, _) = spec_of(policy), place_of(policy)
        listed = spec.get("versions")
        versions = listed if isinstance(listed, list) else []
        named = [_named_pool(version) for version in versions]
        if not any(named):
            return policy
        filled = []
        for i, (version, name) in enumerate(zip(versions, named, strict=True)):
            if not name:
                filled.append(version)
                continue
            labels = version["inferencePool"].get("matchLabels") or {}
            pool = self._pools.get((namespace, name))
            if pool is None:
                message = f"the InferencePool {namespace}/{name} is not served here, so that nobody serves the version"
                remedy = f"create it, and start extproc serve with --inference-pool {namespace}/{name}"
                self._tell(policy, f"spec.versions[{i}].inferencePool", message, remedy)
            else:
                self._named.add((namespace, name))
            plain = {key: value for key, value in version.items() if key != "inferencePool"}
            filled.append({**plain, "endpoints": self._addresses(pool, labels) if pool else [NOWHERE]})
        places = dict.fromkeys((namespace, name) for name in named)
        pools = [self._pools[place] for place in places if place in self._pools]
        spec = {**spec, "versions": filled, "picking": self._picking(spec, pools)}
        rollout = (policy.get("status") or {}).get("rollout")
        return {**policy, "spec": spec, "status": {"rollout": rollout} if rollout else {}}

    def made(self, known: Sequence[Object]) -> Iterator[Object]:
        """The policies that pools and their rewrites make. ``known``: those that there are already."""
        taken = {place_of(one) for one in known if one["kind"] == POLICIES.kind}
        for place, pool in self._pools.items():
            namespace, name = place
            exact, generic = self._rules(pool)
            if place not in self._named or generic is not None:
                versions = self._versions(pool, generic)
                yield from self._new(pool, namespace, name, {"models": ["*"], "versions": versions}, pool, taken)
            for rule in exact:
                spec = {"models": list(rule.models), "versions": self._versions(pool, rule)}
                chosen = rule.name if (namespace, rule.name) not in taken else f"{rule.name}-rewrite"
                yield from self._new(rule.rewrite, namespace, chosen, spec, pool, taken)

    def _new(
        self, origin: Object, namespace: str, name: str, spec: Spec, pool: Object, taken: set[Place]
    ) -> Iterator[Object]:
        name = _cut(name)
        if (namespace, name) in taken:
            message = f"there is a ModelInferencePolicy {namespace}/{name}, which does not name the pool"
            remedy = f"write inferencePool: {{name: {place_of(pool)[1]}}} into its versions, or rename one of the two"
            self._tell(origin, "metadata.name", message, remedy)
            return
        taken.add((namespace, name))
        created = origin["metadata"].get("creationTimestamp", "")
        metadata = {"namespace": namespace, "name": name, "creationTimestamp": created}
        spec = {**spec, "picking": self._picking(spec, [pool])}
        yield {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata, "spec": spec}

    def _versions(self, pool: Object, rule: Rule | None) -> list[dict[str, Any]]:
        endpoints = self._addresses(pool, {})
        if rule is None or not rule.targets:
            return [{"name": _cut(place_of(pool)[1]), "endpoints": endpoints}]
        return [
            {"name": each.version, "weight": each.weight, "modelRewrite": each.model, "endpoints": endpoints}
            for each in rule.targets
        ]

    def _addresses(self, pool: Object, labels: Mapping[str, str]) -> list[str]:
        """``host:port`` of its endpoints, sorted; ``NOWHERE`` where there are none."""
        return [endpoint.address for endpoint in self._endpoints(pool, labels)] or [NOWHERE]

    def _endpoints(self, pool: Object, labels: Mapping[str, str]) -> list[Endpoint]:
        """Each port of each pod that is ready."""
        place, spec = place_of(pool), pool["spec"]
        key = place, tuple(sorted(labels.items()))
        if key in self._found:
            return self._found[key]
        selector = {**spec["selector"]["matchLabels"], **labels}
        selected = self._pods.selected(place[0], tuple(selector.items()))
        found: dict[str, Endpoint] = {}
        for port in (each["number"] for each in spec["targetPorts"]):
            serving = [pod for pod in selected if _serves_on(pod, port)]
            found |= {endpoint.address: endpoint for endpoint in of_pods(serving, port) if endpoint.ready}
        return self._found.setdefault(key, [found[address] for address in sorted(found)])

    def _picking(self, spec: Spec, pools: Sequence[Object]) -> Any:
        """``picking`` of a policy: what it says itself goes before what its pools say."""
        given = spec.get("picking", {})
        own, pages = (given.get(name, {}) for name in ("objectives", "metrics")) if isinstance(given, dict) else (0, 0)
        if not isinstance(own, dict) or not isinstance(pages, dict):
            return given
        by_gpus = "gpuRequirements" in spec or any("gpuPools" in v for v in spec["versions"] if isinstance(v, dict))
        pages = {**({} if by_gpus else {"type": DEFAULT_SERVERS}), **pages}
        objectives = {**self._priorities(pools, MAX_OBJECTIVES - len(own), own), **own}
        told = {"metrics": pages, "objectives": objectives}
        picking = {**given, **{name: value for name, value in told.items() if value}}
        return with_pods({"picking": picking}, (e for pool in pools for e in self._endpoints(pool, {})))["picking"]

    def _priorities(self, pools: Sequence[Object], room: int, own: Spec) -> dict[str, int]:
        """By name, those of the objectives that refer to the pools; the oldest where there is no ``room`` for all."""
        found: dict[str, int] = {}
        for one in self._objectives:
            name = place_of(one)[1]
            if not any(_refers(one, pool) for pool in pools) or name in own:
                continue
            if len(name) > _MAX_NAME or len(found) >= room:
                remedy = f"give a pool {MAX_OBJECTIVES} at most, with names of {_MAX_NAME} characters at most"
                self._tell(one, "metadata.name", "counts for nothing: there are too many, or its name is long", remedy)
                continue
            priority = one["spec"].get("priority") or 0
            found[name] = max(-MAX_PRIORITY, min(MAX_PRIORITY, priority))
        return found

    def _rules(self, pool: Object) -> tuple[list[Rule], Rule | None]:
        return rules_of([one for one in self._rewrites if _refers(one, pool)], self._tell)

    def _tell(self, one: Object, path: str, message: str, remedy: str) -> None:
        self.problems.setdefault(Problem(str(key_of(one)), 0, 0, path, message, remedy))


def _cut(name: str) -> str:
    """An object's name as a policy's, which may not be as long."""
    return name if len(name) <= _MAX_NAME else service_names.label(name)


def _named_pool(version: object) -> str:
    """The pool that a version names; empty where it names none, or not as it must: whoever reads the spec tells."""
    if not isinstance(version, dict) or version.keys() & {"endpoints", "grpcEndpoints"}:
        return ""
    ref = version.get("inferencePool")
    if not isinstance(ref, dict) or not ref.keys() <= {"name", "matchLabels"}:
        return ""
    name, labels = ref.get("name"), ref.get("matchLabels") or {}
    are_labels = isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values())
    return name if isinstance(name, str) and are_labels else ""


def _refers(one: Object, pool: Object) -> bool:
    """Whether ``spec.poolRef`` is the pool, which must be in the object's namespace."""
    ref = one["spec"]["poolRef"]
    is_pool = ref.get("group", GROUP) == GROUP and ref.get("kind", INFERENCE_POOLS.kind) == INFERENCE_POOLS.kind
    return is_pool and (place_of(one)[0], ref["name"]) == place_of(pool)


def _serves_on(pod: Spec, port: int) -> bool:
    """Whether the pod serves on the port, as far as it tells."""
    told = (pod["metadata"].get("annotations") or {}).get(ACTIVE_PORTS)
    return told is None or str(port) in {text.strip() for text in told.split(",")}


def _age(one: Object) -> tuple[str, Place]:
    """Older ones first; of the same age by namespace and name."""
    return str(one["metadata"].get("creationTimestamp", "")), place_of(one)
