"""VirtualServices: routes by the headers that the processor has set to the subset of a target.

A policy's timeout limits the time until the answer begins. Istio's ``timeout`` would cut streams off, so it becomes the
timeout per try, which ends once response headers were sent to the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from extproc import headers
from extproc.policy.snapshot import ModelMatch, Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import seconds
from extproc.render.envoy.rewriting import literal
from extproc.render.envoy.routes import model_only_target, owns_all, unserved_headers, weighted_targets
from extproc.render.istio.destinations import destinations
from extproc.render.istio.istio_options import IstioOptions, host_slug, manifest, namespace, service_host
from extproc.render.istio.upstreams import host_header, path_rewrite

VIRTUAL_SERVICE = "VirtualService", "networking.istio.io/v1"
GRPC = "grpc"
"""Suffix of the names of routes for gRPC calls."""

_MAX_TOTAL_WEIGHT = (1 << 31) - 1
"""Istio's limit for the sum of the weights of one route (int32)."""
_GRPC_MATCH = {"content-type": {"prefix": "application/grpc"}}
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""Failures before a model server can have started on the prompt."""


def virtual_services(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each apex Service, for sidecars and waypoints, and one for the gateway."""
    make = _Routes(snapshot, options)
    found = []
    if {"sidecar", "waypoint"}.intersection(options.proxies):
        for host in dict.fromkeys(service_host(policy, options) for policy in snapshot.policies):
            policies = [policy for policy in snapshot.policies if service_host(policy, options) == host]
            spec = {"hosts": [host], "http": make.all(policies)}
            name = f"aimesh-{host_slug(host)}"
            found.append(manifest(*VIRTUAL_SERVICE, name, namespace(policies[0], options), spec))
    if "gateway" in options.proxies and snapshot.policies:
        spec = {
            "hosts": gateway_hosts(snapshot, options),
            "gateways": [options.gateway],
            "http": make.all(snapshot.policies),
        }
        where = namespace(snapshot.policies[0], options)
        found.append(manifest(*VIRTUAL_SERVICE, "aimesh-gateway", where, spec))
    return found


def gateway_hosts(snapshot: Snapshot, options: IstioOptions) -> list[str]:
    """Hosts by which clients call the gateway."""
    return list(options.hosts or dict.fromkeys(service_host(policy, options) for policy in snapshot.policies))


def default_route(policy: Policy) -> str:
    """Name of the route that requests match before the processor answers, and without it."""
    return f"{policy.name}-default"


def catch_all(snapshot: Snapshot, policies: Sequence[Policy]) -> Policy:
    """Of ``policies`` the one that gets requests on which the processor set no headers."""
    return next((m.policy for m in snapshot.patterns if owns_all(m) and m.policy in policies), policies[0])


class _Routes:
    """Builds routes to the targets of policies."""

    def __init__(self, snapshot: Snapshot, options: IstioOptions) -> None:
        self._snapshot = snapshot
        self._options = options
        self._destinations = {grpc: destinations(snapshot, options, grpc=grpc) for grpc in (False, True)}
        self._pins = any(policy.allow_pin for policy in snapshot.policies)

    def all(self, policies: Sequence[Policy]) -> list[Doc]:
        """For each policy the routes to its targets, then one by model alone; last those without a model."""
        found: list[Doc] = []
        for policy, owned in self._owners(policies):
            for version in policy.answering or (Version(""),):
                for target in self._snapshot.targets[policy.name, version.name]:
                    found += self._target(policy, owned, target)
            if any(owned) and (len(policies) > 1 or self._pins):
                found += self._fallback(policy, f"{policy.name}-model", owned)
        default = catch_all(self._snapshot, policies)
        return [*found, *self._fallback(default, default_route(default), [{}])]

    def _owners(self, policies: Sequence[Policy]) -> list[tuple[Policy, list[Doc]]]:
        """Policies with the conditions for their models, in the order of matching: exact names first, then globs."""
        exact: dict[str, list[Doc]] = {}
        globs: list[tuple[Policy, list[Doc]]] = []
        for match in self._snapshot.patterns:
            if match.policy not in policies:
                continue
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
                "retries": {"attempts": 0} if grpc else _timeouts_and_retries(policy, self._options),
            }
            for grpc in (True, False)
        ]

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


def _timeouts_and_retries(policy: Policy, options: IstioOptions) -> Doc:
    """Retries and the timeout per try. Istio's default retries would repeat prompts.

    No retries where bodies are streamed; Istio has a timeout per try only with retries, so then there is none.
    """
    if options.body == "streamed":
        return {"attempts": 0}
    limit = {"perTryTimeout": seconds(round(policy.timeout, 3))} if policy.timeout is not None else {}
    return {"attempts": 2, **limit, "retryOn": _RETRY_ON}


def _matches(owned: Iterable[Doc]) -> Doc:
    found = [{"headers": match} for match in owned if match]
    return {"match": found} if found else {}
