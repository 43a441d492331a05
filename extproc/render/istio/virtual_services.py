"""VirtualServices: routes by the headers that the processor has set to the subset of a target.

Where there are very many, the routes for exact names of models are in VirtualServices of their own, which the one of
the host includes (``delegate``): istiod puts them together in its order. Each name's routes are in one of them, so that
no order among those matters.

A policy's timeout limits the time until the answer begins. Istio's ``timeout`` would cut streams off, so it becomes the
timeout per try, which ends once response headers were sent to the client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter

from extproc import headers
from extproc.policy.snapshot import ModelMatch, Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import seconds
from extproc.render.envoy.rewriting import literal
from extproc.render.envoy.routes import model_only_target, owns_all, unserved_headers, weighted_targets
from extproc.render.istio.destinations import destinations
from extproc.render.istio.istio_options import (
    IstioOptions,
    host_slug,
    manifest,
    namespace,
    part_name,
    part_of,
    service_host,
)
from extproc.render.istio.upstreams import host_header, path_rewrite

VIRTUAL_SERVICE = "VirtualService", "networking.istio.io/v1"
GRPC = "grpc"
"""Suffix of the names of routes for gRPC calls."""

MAX_ROUTES = 1000
"""In one object. A route has some 450 bytes, an object at most 1.5 MiB (etcd), and twice the routes during a change."""

_MAX_TOTAL_WEIGHT = (1 << 31) - 1
"""Istio's limit for the sum of the weights of one route (int32)."""
_GRPC_MATCH = {"content-type": {"prefix": "application/grpc"}}
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""Failures before a model server can have started on the prompt."""


def virtual_services(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each apex Service, for sidecars and waypoints, and one for the gateway; before each those it includes."""
    make = _Routes(snapshot, options)
    found: list[Doc] = []
    if {"sidecar", "waypoint"}.intersection(options.proxies):
        for host, policies in policies_by_host(snapshot, options).items():
            where = namespace(policies[0], options)
            found += _objects(f"aimesh-{host_slug(host)}", where, {"hosts": [host]}, make, policies)
    if "gateway" in options.proxies and snapshot.policies:
        head = {"hosts": gateway_hosts(snapshot, options), "gateways": [options.gateway]}
        where = namespace(snapshot.policies[0], options)
        found += _objects("aimesh-gateway", where, head, make, snapshot.policies)
    return found


def _objects(name: str, where: str, head: Doc, make: _Routes, policies: Sequence[Policy]) -> list[Doc]:
    """A VirtualService, after those that it includes."""
    if len(routes := make.all(policies)) <= MAX_ROUTES:
        return [manifest(*VIRTUAL_SERVICE, name, where, {**head, "http": routes})]
    parts, routes = make.divided(policies)
    included = [
        manifest(*VIRTUAL_SERVICE, part_name(name, part), where, {"http": routes_of})
        for part, routes_of in sorted(parts.items())
    ]
    # Without a name: istiod would put it before the name of each route that is included.
    includes = [{"delegate": {"name": one["metadata"]["name"], "namespace": where}} for one in included]
    return [*included, manifest(*VIRTUAL_SERVICE, name, where, {**head, "http": [*includes, *routes]})]


def gateway_hosts(snapshot: Snapshot, options: IstioOptions) -> list[str]:
    """Hosts by which clients call the gateway."""
    return list(options.hosts or dict.fromkeys(service_host(policy, options) for policy in snapshot.policies))


def policies_by_host(snapshot: Snapshot, options: IstioOptions) -> dict[str, list[Policy]]:
    """The policies of each apex Service, by its host."""
    found: dict[str, list[Policy]] = {}
    for policy in snapshot.policies:
        found.setdefault(service_host(policy, options), []).append(policy)
    return found


def default_route(policy: Policy) -> str:
    """Name of the route that requests match before the processor answers, and without it."""
    return f"{policy.name}-default"


def catch_all(snapshot: Snapshot, policies: Sequence[Policy]) -> Policy:
    """Of ``policies`` the one that gets requests on which the processor set no headers."""
    return snapshot.fallback if snapshot.fallback in policies else policies[0]


class _Routes:
    """Builds routes to the targets of policies."""

    def __init__(self, snapshot: Snapshot, options: IstioOptions) -> None:
        self._snapshot = snapshot
        self._options = options
        self._destinations = {grpc: destinations(snapshot, options, grpc=grpc) for grpc in (False, True)}
        self._pins = any(policy.allow_pin for policy in snapshot.policies)
        self._patterns: dict[str, list[tuple[int, ModelMatch]]] = defaultdict(list)
        """Each policy's patterns, with the place in which they are tried."""
        for place, match in enumerate(snapshot.patterns):
            self._patterns[match.policy.name].append((place, match))

    def all(self, policies: Sequence[Policy]) -> list[Doc]:
        """For each policy the routes to its targets, then one by model alone; last those without a model."""
        shared = len(policies) > 1
        owned = (self._owned(policy, models, shared=shared) for policy, models in self._owners(policies))
        return [*chain.from_iterable(owned), *self._default(policies)]

    def divided(self, policies: Sequence[Policy]) -> tuple[dict[int, list[Doc]], list[Doc]]:
        """The same: the routes for exact names of models, by the part (``part_of``) of these; and those after them."""
        shared = len(policies) > 1
        parts: dict[int, list[Doc]] = defaultdict(list)
        after: list[Doc] = []
        for policy, owned in self._owners(policies):
            named: dict[int, list[Doc]] = defaultdict(list)
            for models in owned:
                if exact := models.get(headers.MODEL_NAME, {}).get("exact"):
                    named[part_of(exact)].append(models)
                else:
                    after += self._owned(policy, [models], shared=shared)
            for part, mine in named.items():
                parts[part] += self._owned(policy, mine, shared=shared)
        return parts, [*after, *self._default(policies)]

    def _owned(self, policy: Policy, owned: list[Doc], *, shared: bool) -> list[Doc]:
        """The routes of a policy for some of its models. ``shared``: others have the host as well."""
        found: list[Doc] = []
        for version in policy.answering or (Version(""),):
            for target in self._snapshot.targets[policy.name, version.name]:
                found += self._target(policy, owned, target)
        if any(owned) and (shared or self._pins):
            found += self._fallback(policy, f"{policy.name}-model", owned)
        return found

    def _default(self, policies: Sequence[Policy]) -> list[Doc]:
        default = catch_all(self._snapshot, policies)
        return self._fallback(default, default_route(default), [{}])

    def _owners(self, policies: Sequence[Policy]) -> list[tuple[Policy, list[Doc]]]:
        """Policies with the conditions for their models, in the order of matching: exact names first, then globs."""
        exact: dict[str, list[Doc]] = {}
        globs: list[tuple[Policy, list[Doc]]] = []
        for _, match in sorted(
            (each for policy in policies for each in self._patterns[policy.name]), key=itemgetter(0)
        ):
            if "*" in match.pattern:
                globs.append((match.policy, [self._glob(match)]))
            else:
                model = {headers.MODEL_NAME: {"exact": headers.safe_value(match.pattern)}}
                exact.setdefault(match.policy.name, []).append(model)
        return [*((self._snapshot.by_name[name], owned) for name, owned in exact.items()), *globs]

    def _glob(self, match: ModelMatch) -> Doc:
        if not owns_all(match):
            regex = ".*".join(literal(headers.safe_value(part)) for part in match.pattern.split("*"))
            return {headers.MODEL_NAME: {"regex": regex}}
        # Where pins are allowed a client's version header is not removed, but its model header is: only the processor
        # sets that one, so a pin that no processor has checked matches no route.
        return {headers.MODEL_NAME: {"regex": ".+"}} if self._pins else {}

    def _target(self, policy: Policy, owned: list[Doc], target: Target) -> list[Doc]:
        """Routes to ``target`` for requests with the headers that the processor sets for it."""
        chosen = ((headers.MODEL_VERSION, target.version), (headers.GPU_POOL, target.pool))
        wanted = {name: {"exact": headers.safe_value(value)} for name, value in chosen if value}
        if not wanted:
            return []
        name = "-".join(part for part in (policy.name, target.version, target.pool) if part)
        return self._grpc_and_other(
            policy, name, [models | wanted for models in owned], [(target, 1)], unserved_headers(target)
        )

    def _fallback(self, policy: Policy, name: str, owned: list[Doc]) -> list[Doc]:
        """To the policy's default version, or without one split by weight; versions of weight 0 get nothing."""
        removed = unserved_headers(model_only_target(self._snapshot, policy))
        if self._pins and not any(owned):
            removed = unserved_headers(None)  # no processor has checked a pin on these requests
        return self._grpc_and_other(
            policy, name, owned, weighted_targets(self._snapshot, policy, _MAX_TOTAL_WEIGHT), removed
        )

    def _grpc_and_other(
        self, policy: Policy, name: str, owned: list[Doc], shares: list[tuple[Target, int]], removed: list[str]
    ) -> list[Doc]:
        """One route for gRPC calls, whose requests may be streams and can't be retried, and one for everything else.

        ``removed``: request headers that the routes remove.
        """
        if not shares:
            return [{"name": name, **_matches(owned), "directResponse": {"status": 503}}]
        return [
            {
                "name": f"{name}-{GRPC}" if grpc else name,
                **_matches([match | _GRPC_MATCH for match in owned] if grpc else owned),
                "route": [
                    {"destination": self._destinations[grpc][target].reference}
                    | ({"weight": weight} if len(shares) > 1 else {})
                    | host_header(target, grpc=grpc)
                    for target, weight in shares
                ],
                **path_rewrite([target for target, _ in shares], grpc=grpc),
                **self._mirrors(policy, grpc=grpc),
                **({"headers": {"request": {"remove": removed}}} if removed else {}),
                "retries": {"attempts": 0} if grpc else self._retries(policy, [target for target, _ in shares]),
            }
            for grpc in (True, False)
        ]

    def _retries(self, policy: Policy, reached: Iterable[Target]) -> Doc:
        """Retries and the timeout per try. Istio's default retries would repeat prompts. Where other pools stand in for
        one of those ``reached``, each second retry goes to the next ones, however many servers are not known to be
        gone (``previous_priorities`` with istiod's ``update_frequency``), and there are enough to reach the farthest.

        No retries where bodies are streamed; Istio has a timeout per try only with retries, so then there is none.
        """
        if self._options.body == "streamed":
            return {"attempts": 0}
        limit = {"perTryTimeout": seconds(round(policy.timeout, 3))} if policy.timeout is not None else {}
        tiers = max(self._destinations[False][target].tiers for target in reached)
        elsewhere = {"retryRemoteLocalities": True} if tiers else {}
        return {"attempts": 2 * max(tiers, 1), **limit, "retryOn": _RETRY_ON, **elsewhere}

    def _mirrors(self, policy: Policy, *, grpc: bool) -> Doc:
        """Mirrors: a mirror's percentage is divided among its pools by their number of endpoints."""
        mirrors = []
        for version in policy.mirrors:
            mine = self._snapshot.targets[policy.name, version.name]
            pools = [self._destinations[grpc][target] for target in mine]
            total = sum(len(pool.target.endpoints) for pool in pools)
            for pool in pools:
                share = round(version.mirror * len(pool.target.endpoints) / total, 4)
                mirrors.append({"destination": pool.reference, "percentage": {"value": share}})
        return {"mirrors": mirrors} if mirrors else {}


def _matches(owned: Iterable[Doc]) -> Doc:
    found = [{"headers": match} for match in owned if match]
    return {"match": found} if found else {}
