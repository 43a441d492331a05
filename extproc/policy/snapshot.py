"""The immutable snapshot that decisions read: policies, their versions, GPU pools.

``config`` builds a View from policy files; a reload builds another and swaps it in. Nothing here ever changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec

from extproc.policy.custom_metric import CustomMetric
from extproc.policy.gpu import Gpu, Requirement, satisfies
from extproc.policy.pool_load import NO_LOADS
from extproc.policy.rendezvous import Rendezvous

DEFAULT_BODY_LIMIT = 8 << 20
"""Bytes of request body that are read to find the model, where the policy does not say."""

DEFAULT_DAYS = 30
"""Over which service level objectives hold, where the policy does not say."""

OTHER = "other"
"""Label value for what no policy names."""
NONE = "none"
"""Label value where there is nothing to name."""


class GpuPool(msgspec.Struct, frozen=True, dict=True):
    """A GpuPool: GPUs of one kind and the endpoints that serve on them."""

    name: str
    gpu: Gpu
    endpoints: tuple[str, ...] = ()
    """``host:port``."""
    locality: str = ""
    metrics_type: str = ""
    metrics_url: str = ""
    """The page on which servers of this type tell how busy they are. A type without a page: they tell with answers."""


class HeaderMatch(msgspec.Struct, frozen=True):
    """One entry of a version's ``match``: every header named must have exactly this value."""

    headers: tuple[tuple[str, bytes], ...]
    """Names in lower case."""


class Version(msgspec.Struct, frozen=True):
    """One version of a policy's models."""

    name: str
    weight: int = 1
    endpoints: tuple[str, ...] = ()
    model_rewrite: str = ""
    """Model name sent upstream in the body; empty: as the client wrote it."""
    match: tuple[HeaderMatch, ...] = ()
    gpu_pools: tuple[str, ...] | None = None
    """Names of pools; None: every pool that meets the requirement."""
    mirror: int = 0
    """Percent of the policy's requests of which it gets a copy; then it never answers a client. 0: no mirror."""


class Sticky(msgspec.Struct, frozen=True):
    """Where the key is that keeps a user on one version; exactly one is set."""

    header: str = ""
    cookie: str = ""
    body: tuple[str, ...] = ()
    """Tokens of a JSON Pointer (RFC 6901)."""


class RetryBudget(msgspec.Struct, frozen=True):
    """Linkerd's terms: retries may add ``ratio`` of the load, and ``min_per_second`` whatever the load."""

    ratio: float
    min_per_second: int


class Objective(msgspec.Struct, frozen=True):
    """So many of the requests are so fast."""

    under: float
    """Seconds; a bound of the histogram that counts them."""
    target: float
    """Percent."""


class Slo(msgspec.Struct, frozen=True):
    """What a policy promises of each of its versions. None: nothing is promised."""

    availability: float | None = None
    """Percent of the requests that do not fail."""
    first_token: Objective | None = None
    duration: Objective | None = None
    days: int = DEFAULT_DAYS
    """Over which the promise holds."""


class Policy(msgspec.Struct, frozen=True, dict=True):
    """A ModelInferencePolicy, its defaults filled in. ``targets`` is what its rules come down to."""

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
    gpu: Requirement | None = None
    timeout: float | None = None
    """Seconds."""
    retry_budget: RetryBudget | None = None
    custom_metrics: tuple[CustomMetric, ...] = ()
    body_limit: int = DEFAULT_BODY_LIMIT
    """Bytes."""
    path_prefixes: tuple[str, ...] = ()
    """``/team-a``: stripped from paths before they are looked up; known to every policy of the view."""
    slo: Slo | None = None
    sampling: float = 1.0
    """Share of the answers that are read for times and tokens, from 0 to 1; every answer is counted."""
    default: str = ""
    """The version for requests without a sticky key, and for all while no processor decides. Empty: by weight."""

    @cached_property
    def measured_headers(self) -> frozenset[str]:
        """Those of responses that its metrics are made of."""
        sources = (source for metric in self.custom_metrics for source in (metric.source, metric.per))
        return frozenset(source.header for source in sources if source.header)

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
        """The versions that answer, by their name."""
        return {v.name: v for v in self.answering}

    @cached_property
    def shares(self) -> Rendezvous[Version]:
        """The versions by weight, for choosing one by a key."""
        return Rendezvous(self.name, [(v.name, v.weight, v) for v in self.answering])

    @cached_property
    def rewrites(self) -> bool:
        """Some version changes the model name in the body, so the body must be seen."""
        return any(v.model_rewrite for v in self.versions)


class Target(msgspec.Struct, frozen=True):
    """Where requests for a version go on one GPU pool: what becomes a cluster."""

    policy: str
    version: str
    """Empty for a policy without versions."""
    pool: str
    """Empty where no pool is chosen."""
    endpoints: tuple[str, ...]
    """``host:port``; where neither version nor pool names any, the policy's own ``host:port``."""


class ModelMatch(msgspec.Struct, frozen=True):
    """The policy that owns a model, and by which of its patterns."""

    policy: Policy
    pattern: str
    """The label value ``model``: a text of the policy, never the client's."""


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """Everything a decision reads. ``generation`` counts the policies loaded since start, from 1."""

    policies: tuple[Policy, ...] = ()
    pools: tuple[GpuPool, ...] = ()
    generation: int = 1

    @cached_property
    def by_name(self) -> dict[str, Policy]:
        """The policies by their name."""
        return {p.name: p for p in self.policies}

    @cached_property
    def _exact(self) -> dict[str, ModelMatch]:
        return {m: ModelMatch(p, m) for p in self.policies for m in p.models if "*" not in m}

    @cached_property
    def _globs(self) -> tuple[tuple[tuple[str, ...], ModelMatch], ...]:
        """Longest pattern first; a tie goes to the policy that stands first."""
        globs = [(tuple(m.split("*")), ModelMatch(p, m)) for p in self.policies for m in p.models if "*" in m]
        return tuple(sorted(globs, key=lambda g: -len(g[1].pattern)))

    @cached_property
    def body_limit(self) -> int:
        """Bytes to read at the most of a body whose policy is not known yet: the largest limit of any."""
        return max((p.body_limit for p in self.policies), default=DEFAULT_BODY_LIMIT)

    @cached_property
    def reads_keys(self) -> bool:
        """Some policy finds its sticky key in the body, so bodies may matter where the head tells the model."""
        return any(p.sticky and p.sticky.body for p in self.policies)

    @cached_property
    def path_prefixes(self) -> tuple[str, ...]:
        """What a gateway may have put in front of an API's path; the longest first."""
        return tuple(sorted({prefix for p in self.policies for prefix in p.path_prefixes}, key=lambda p: (-len(p), p)))

    @cached_property
    def targets(self) -> dict[tuple[str, str], tuple[Target, ...]]:
        """For every (policy, version): the places that can serve it; none: pools are declared and none fits.

        A policy that neither has ``gpuRequirements`` nor names pools does not ask for a GPU: it has no pool.
        """
        return {
            (policy.name, version.name): tuple(self._targets(policy, version))
            for policy in self.policies
            for version in policy.versions or (Version(""),)
        }

    def place(self, policy: str, version: str, key: bytes, free: Mapping[str, float] = NO_LOADS) -> Target | None:
        """Where a request with this key goes, pools weighted by endpoints and free share; None: no pool fits."""
        return self._places[policy, version].choose(key, (lambda t: free.get(t.pool, 1.0)) if free else None)

    @cached_property
    def _places(self) -> dict[tuple[str, str], Rendezvous[Target]]:
        return {
            (policy, version): Rendezvous(
                f"{policy}\0{version}\0pool", [(t.pool, len(t.endpoints), t) for t in targets]
            )
            for (policy, version), targets in self.targets.items()
        }

    @cached_property
    def pool_by_name(self) -> dict[str, GpuPool]:
        """The pools by their name."""
        return {p.name: p for p in self.pools}

    @property
    def patterns(self) -> tuple[ModelMatch, ...]:
        """Every pattern of every policy in the order in which they are tried: exact ones, then longest first."""
        return (*self._exact.values(), *(match for _, match in self._globs))

    def match(self, model: str) -> ModelMatch | None:
        """The policy that owns ``model``: exact before glob, the longest glob first."""
        if found := self._exact.get(model):
            return found
        for parts, match in self._globs:
            if _glob(parts, model):
                return match
        return None

    def _targets(self, policy: Policy, version: Version) -> list[Target]:
        home = (f"{policy.host}:{policy.port}",)
        if version.gpu_pools is not None:
            pools: Sequence[GpuPool] = [self.pool_by_name[n] for n in version.gpu_pools if n in self.pool_by_name]
        else:
            pools = self.pools if policy.gpu else ()
        if not pools:
            return [Target(policy.name, version.name, "", version.endpoints or home)]
        found = []
        for pool in pools:
            if policy.gpu and not satisfies(pool.gpu, policy.gpu):
                continue
            common = tuple(e for e in version.endpoints if e in pool.endpoints)
            if version.endpoints and pool.endpoints:
                if common:
                    found.append(Target(policy.name, version.name, pool.name, common))
            else:
                endpoints = version.endpoints or pool.endpoints or home
                found.append(Target(policy.name, version.name, pool.name, endpoints))
        if not found and not policy.reject_without_gpu:
            found.append(Target(policy.name, version.name, "", version.endpoints or home))
        return found


def _glob(parts: Sequence[str], text: str) -> bool:
    """Whether ``text`` matches the glob that was split at ``*`` into ``parts`` (two at least)."""
    head, *middle, tail = parts
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    at, end = len(head), len(text) - len(tail)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
