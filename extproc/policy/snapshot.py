"""The immutable snapshot that decisions read: policies, their versions, GPU pools; a reload builds another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import msgspec

from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.custom_metric import CustomMetric
from extproc.policy.gpu import Requirement, satisfies
from extproc.policy.gpu_pool import GpuPool
from extproc.policy.load_balancer import LEAST_REQUEST, LoadBalancer
from extproc.policy.locality import by_distance
from extproc.policy.model_patterns import PatternIndex
from extproc.policy.objectives import DEFAULT_SLO_DAYS, Objective, Slo
from extproc.policy.picking import PREFIX, Picking
from extproc.policy.rendezvous import RendezvousHash
from extproc.policy.retry_budget import RetryBudget
from extproc.policy.rollout_plan import RolloutPlan, RolloutState
from extproc.policy.session_tag import Place, places
from extproc.policy.sticky import Sticky
from extproc.policy.target import NOWHERE, Target, listed_by_both, vacant_clusters
from extproc.policy.target_choice import TargetHash, hash_of
from extproc.policy.upstream import PLAIN, Upstream
from extproc.policy.weights_from import WeightsFrom

__all__ = ["DEFAULT_BODY_LIMIT", "DEFAULT_SLO_DAYS", "NONE", "OTHER", "GpuPool", "HeaderMatch", "ModelMatch"]
__all__ += ["Objective", "Policy", "RetryBudget", "Slo", "Snapshot", "Sticky", "Version"]

DEFAULT_BODY_LIMIT = 8 << 20
"""Bytes of a request body that are read to find the model, where the policy does not say."""
OTHER = "other"
"""Label value for everything that no policy names."""
NONE = "none"
"""Label value where there is nothing to name."""


class HeaderMatch(msgspec.Struct, frozen=True):
    """One entry of a version's ``match``: each header, named in lower case, must have exactly the value."""

    headers: tuple[tuple[str, bytes], ...]


class Version(msgspec.Struct, frozen=True):
    """One version of a policy's models."""

    name: str
    weight: int = 1
    endpoints: tuple[str, ...] = ()
    model_rewrite: str = ""
    """Model name for the body sent upstream; empty: as the client wrote it."""
    match: tuple[HeaderMatch, ...] = ()
    gpu_pools: tuple[str, ...] | None = None
    """Names of pools; None: all that meet the policy's requirement."""
    mirror: int = 0
    """Percent of the policy's requests that are copied to it; it then never answers a client. 0: no mirror."""
    upstream: Upstream = PLAIN
    grpc_endpoints: tuple[str, ...] = ()
    """``host:port`` for gRPC; empty: ``endpoints``."""
    load_balancer: LoadBalancer | None = None
    """None: the pool's, or else the policy's."""
    inference_pool: str = ""
    """Name of the InferencePool whose pods the endpoints are; who watches it has these in ``endpoints`` instead."""


class Policy(msgspec.Struct, frozen=True, dict=True):
    """A ``ModelInferencePolicy`` with its defaults filled in."""

    name: str
    namespace: str = ""
    selector: tuple[tuple[str, str], ...] = ()
    host: str = ""
    """The apex Service."""
    port: int = 8080
    models: tuple[str, ...] = ("*",)
    """Exact names and globs (``*`` only)."""
    versions: tuple[Version, ...] = ()
    sticky: Sticky | None = None
    allow_pin: bool = False
    reject_without_gpu: bool = True
    reject_unreadable: bool = False
    reject_unowned: bool = False
    fails_over: bool = True
    """Another version answers while one is down."""
    gpu: Requirement | None = None
    timeout: float | None = None
    """Seconds."""
    retry_budget: RetryBudget | None = None
    breaker: CircuitBreaker | None = None
    custom_metrics: tuple[CustomMetric, ...] = ()
    body_limit: int = DEFAULT_BODY_LIMIT
    """Bytes."""
    path_prefixes: tuple[str, ...] = ()
    """``/team-a``: removed from a request's path before its API is looked up, whichever policy names it."""
    slo: Slo | None = None
    sampling: float | None = None
    """Share of the answers that are read for times and tokens, 0 to 1; every answer is counted. None: by their rate."""
    default: str = ""
    """Version for requests without a sticky key, and for all while no processor runs. Empty: by weight."""
    rollout: RolloutPlan | None = None
    rollout_state: RolloutState | None = None
    """What the versions' weights follow from; None: no rollout, or it has not begun."""
    weights_from: WeightsFrom | None = None
    """The route of a cluster that says the weights in the place of those that are written."""
    load_balancer: LoadBalancer = LEAST_REQUEST
    """Where neither version nor pool has one."""
    picking: Picking | None = None
    """How one endpoint of a version is picked; None: proxies do it, by the load balancer."""

    @cached_property
    def metric_headers(self) -> frozenset[str]:
        """Response headers that custom metrics read, in lower case."""
        return frozenset(s.header for metric in self.custom_metrics for s in (metric.source, metric.per) if s.header)

    @cached_property
    def answering(self) -> tuple[Version, ...]:
        """The versions that answer clients: all but mirrors."""
        return tuple(v for v in self.versions if not v.mirror)

    @cached_property
    def mirrors(self) -> tuple[Version, ...]:
        """The versions that get copies."""
        return tuple(v for v in self.versions if v.mirror)

    @cached_property
    def by_name(self) -> dict[str, Version]:
        """The answering versions by name."""
        return {v.name: v for v in self.answering}

    @cached_property
    def choice(self) -> tuple[tuple[Version, ...], Mapping[str, Version], Version | None]:
        """What chooses a version: those with a ``match``, those that a client may name, the only one that answers."""
        answering = self.answering
        pinnable = self.by_name if self.allow_pin else {}
        return tuple(v for v in answering if v.match), pinnable, answering[0] if len(answering) == 1 else None

    @cached_property
    def version_hash(self) -> RendezvousHash[Version]:
        """Chooses an answering version by a key, in proportion to the weights."""
        return RendezvousHash(self.name, [(v.name, v.weight, v) for v in self.answering])

    @cached_property
    def rewrites_model(self) -> bool:
        """Whether some decision changes the model name in the body, so that the body is needed."""
        return bool(self.breaker and self.breaker.fallback_policy) or any(v.model_rewrite for v in self.versions)


class ModelMatch(msgspec.Struct, frozen=True):
    """The policy that owns a model, and the pattern by which it does."""

    policy: Policy
    pattern: str
    """Value of the label ``model``: a text of the policy, never the client's."""


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """Everything a decision reads. ``generation`` counts the loads since the start, from 1."""

    policies: tuple[Policy, ...] = ()
    pools: tuple[GpuPool, ...] = ()
    generation: int = 1
    locality: str = ""
    """Where the proxy is for which it decides; empty: not known. Of a version's pools, the nearest answer."""
    session_keys: tuple[bytes, ...] = ()
    """Of tags (``session_tag``); the first one makes them, each reads them. None: there are no tags."""

    @cached_property
    def by_name(self) -> dict[str, Policy]:
        """The policies by name."""
        return {p.name: p for p in self.policies}

    @cached_property
    def _models(self) -> PatternIndex[ModelMatch]:
        return PatternIndex((model, ModelMatch(policy, model)) for policy in self.policies for model in policy.models)

    @cached_property
    def body_limit(self) -> int:
        """Most bytes to read of a body before its policy is known: the largest limit of all policies."""
        return max((p.body_limit for p in self.policies), default=DEFAULT_BODY_LIMIT)

    @cached_property
    def reads_bodies(self) -> bool:
        """Whether a policy needs a sticky key or a prompt from bodies, which are read even if paths name the models."""
        return any((p.sticky and p.sticky.body) or (p.picking and p.picking.by == PREFIX) for p in self.policies)

    @cached_property
    def path_prefixes(self) -> tuple[str, ...]:
        """Prefixes that a gateway may have put before an API's path, the longest first."""
        return tuple(sorted({prefix for p in self.policies for prefix in p.path_prefixes}, key=lambda p: (-len(p), p)))

    @cached_property
    def targets(self) -> dict[tuple[str, str], tuple[Target, ...]]:
        """The targets of each (policy, version); empty where pools are declared and none can serve the version.

        A policy with neither ``gpuRequirements`` nor ``gpuPools`` has a target without a pool.
        """
        return {
            (policy.name, version.name): tuple(self._targets(policy, version))
            for policy in self.policies
            for version in policy.versions or (Version(""),)
        }

    @cached_property
    def target_by_cluster(self) -> dict[str, Target]:
        """The targets by ``Target.cluster``."""
        return {target.cluster: target for targets in self.targets.values() for target in targets}

    @cached_property
    def vacant(self) -> frozenset[str]:
        """Clusters (``Target.cluster_of``) without servers at present; of a version without a target that off pools."""
        nowhere = (Target(*key, "", (NOWHERE,)) for key, found in self.targets.items() if not found)
        return vacant_clusters((*self.target_by_cluster.values(), *nowhere))

    def is_down(self, policy: str, version: str, down: frozenset[str], grpc: bool = False) -> bool:
        """Whether a version has no target that is not ``down`` (clusters), for a call of gRPC or any other."""
        return all(target.cluster_of(grpc=grpc) in down for target in self.targets[policy, version])

    @cached_property
    def places(self) -> dict[tuple[str, str], Place]:
        """Servers that answer clients, by the kind of session and the tag that ids of their sessions have."""
        answering = ((p.name, v.name) for p in self.policies for v in p.answering or (Version(""),))
        return places(self.session_keys, (target for key in answering for target in self.targets.get(key, ())))

    @cached_property
    def has_keys(self) -> bool:
        """Whether some server gets a key of ours (``credentials``) with its requests."""
        return any(target.upstream.credentials for targets in self.targets.values() for target in targets)

    @cached_property
    def tiers(self) -> dict[tuple[str, str], tuple[tuple[Target, ...], ...]]:
        """The targets of each (policy, version) by their distance, the nearest first; at least one tier."""
        return {key: by_distance(targets, self.locality, self.pool_by_name) for key, targets in self.targets.items()}

    @cached_property
    def target_hashes(self) -> dict[tuple[str, str], tuple[TargetHash, ...]]:
        """By which targets are chosen (``target_choice``): of each (policy, version), for each of ``tiers``."""
        return {key: tuple(hash_of(key, tier) for tier in found) for key, found in self.tiers.items()}

    @cached_property
    def pool_by_name(self) -> dict[str, GpuPool]:
        """The pools by name."""
        return {p.name: p for p in self.pools}

    @property
    def patterns(self) -> tuple[ModelMatch, ...]:
        """All patterns in the order in which they are tried: exact names, then globs, the longest first."""
        return self._models.owners

    @cached_property
    def fallback(self) -> Policy:
        """The policy to whose servers our own Envoy sends what none owns: the owner of ``*``, else the first one."""
        return next((match.policy for match in self.patterns if not match.pattern.strip("*")), self.policies[0])

    @cached_property
    def match(self) -> Callable[[str], ModelMatch | None]:
        """Finds the policy that owns a model, by its exact name or else by the longest glob; None: no policy."""
        return self._models.find

    def _targets(self, policy: Policy, version: Version) -> list[Target]:
        own = version.endpoints or (f"{policy.host}:{policy.port}",)
        pools: Sequence[GpuPool] = self.pools if policy.gpu else ()
        if version.gpu_pools is not None:
            pools = [self.pool_by_name[name] for name in version.gpu_pools if name in self.pool_by_name]
        pools = [pool for pool in pools if pool.is_open_to(policy.namespace)]
        balancer = version.load_balancer or policy.load_balancer
        plain = Target(policy.name, version.name, "", own, version.upstream, version.grpc_endpoints, balancer)
        if not pools:
            return [plain]
        targets = []
        for pool in (p for p in pools if not policy.gpu or satisfies(p.gpu, policy.gpu)):
            listed = version.endpoints or pool.endpoints
            endpoints = listed_by_both(version.endpoints, pool.endpoints) if listed else own
            if endpoints:
                named = bool(version.endpoints or version.grpc_endpoints)
                upstream = version.upstream.completed(pool.upstream, own_endpoints=named)
                grpc = listed_by_both(version.grpc_endpoints, pool.grpc_endpoints)
                balancer = version.load_balancer or pool.load_balancer or policy.load_balancer
                targets.append(Target(policy.name, version.name, pool.name, endpoints, upstream, grpc, balancer))
        return targets or ([] if policy.reject_without_gpu else [plain])
