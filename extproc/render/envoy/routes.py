"""Envoy routes: by the headers that the processor has set to the cluster of a target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import lcm

from extproc import headers
from extproc.exchange.request_body import rest
from extproc.policy.snapshot import ModelMatch, Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.render.document import Doc
from extproc.render.envoy.clusters import cluster_name
from extproc.render.envoy.envoy_options import (
    NAMESPACE,
    ROUTE_FILTER,
    Body,
    EnvoyOptions,
    avoid_previous_hosts,
    request_mode,
    seconds,
)
from extproc.render.envoy.failover import ANSWERING_POOL, next_priority, routed_cluster, stand_ins
from extproc.render.envoy.response_headers import response_headers
from extproc.render.envoy.rewriting import rewriting, split

ROUTES = NAMESPACE
"""Name of the one route configuration."""

BODY_MARGIN = 64 << 10
"""Bytes by which Envoy's limit exceeds the processor's, so that the processor's 413, which says why, comes first."""
_STREAM_IDLE_SECONDS = 3600.0
"""Seconds without a byte in either direction after which a stream ends, where the policy has no timeout."""

_MAX_TOTAL_WEIGHT = (1 << 32) - 1
"""Envoy's limit for the sum of the weights of one route (uint32)."""

_GRPC_MODES: dict[Body, Doc] = {
    "buffered": request_mode("STREAMED"),
    # STREAMED needs send_body_without_waiting_for_header_response, which "native" does not set.
    "native": request_mode("FULL_DUPLEX_STREAMED") | {"request_trailer_mode": "SEND"},
}
"""Processing modes for gRPC calls, where they differ: requests that may be streams can't be buffered."""
_UPGRADE: Doc = {"headers": [{"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}]}
"""Condition for WebSockets (RFC 6455 §4.1)."""
_GRPC_PATH = r"(/.*)?/[A-Za-z_]\w*([.]\w+)+/\w+"
_GRPC_METHOD: Doc = {"headers": [{"name": ":path", "string_match": {"safe_regex": {"regex": _GRPC_PATH}}}]}
"""Condition for calls of gRPC beside the content type, which a client may give to any request: a path of a service in a
package, as those of all inference APIs are. A server of HTTP/1.1 would fail by the call, and count as failing.
"""
_TARGET_HEADERS = (headers.MODEL_VERSION, headers.GPU_POOL, headers.GPU_ARCHITECTURE)
"""Headers by which the processor names the target that it has chosen."""


def route_configuration(snapshot: Snapshot, options: EnvoyOptions, *, keep_target_headers: bool = False) -> Doc:
    """For each policy the routes to its targets, then one for what names none of them; last those of nobody's requests.

    ``keep_target_headers``: no route of a policy removes headers, since a mesh behind this Envoy routes by them.
    """
    make = _Routes(snapshot, options.body, keep_target_headers=keep_target_headers)
    routes = [route for policy in snapshot.policies for route in make.policy(policy, _owned_by(policy))]
    return {
        "name": ROUTES,
        "virtual_hosts": [
            {
                "name": NAMESPACE,
                "domains": ["*"],
                "request_body_buffer_limit": body_buffer(snapshot, options.body),
                "routes": [*routes, *make.catch_all()],
            }
        ],
    }


def body_buffer(snapshot: Snapshot, body: Body) -> int:
    """Bytes of a request's body that Envoy may buffer."""
    return snapshot.body_limit + (rest(snapshot.body_limit) if body == "buffered" else 0) + BODY_MARGIN


def _owned_by(policy: Policy) -> Doc:
    """The condition for requests that the processor has decided to be the policy's: its name in the dynamic metadata.

    The model would not do: some requests name none, and those of a session may name one of another policy's. A client
    can't set the metadata, so its version pin has no effect while no processor answers.
    """
    owner = {"string_match": {"exact": policy.name}}
    return {"dynamic_metadata": [{"filter": NAMESPACE, "path": [{"key": "policy"}], "value": owner}]}


def owns_all(match: ModelMatch) -> bool:
    """Whether the pattern matches every model; then requests without a model belong to the policy too."""
    return not match.pattern.strip("*")


def _header(name: str, text: Doc) -> Doc:
    return {"headers": [{"name": name, "string_match": text}]}


class _Routes:
    """Builds routes. ``body``: see ``EnvoyOptions``; ``keep_target_headers``: see ``route_configuration``."""

    def __init__(self, snapshot: Snapshot, body: Body, *, keep_target_headers: bool) -> None:
        self._snapshot = snapshot
        self._body = body
        self._keep_target_headers = keep_target_headers

    def policy(self, policy: Policy, owner: Doc) -> Iterator[Doc]:
        """A route to each of the policy's targets, and one for requests that name none of them."""
        for version in policy.answering or (Version(""),):
            for target in self._snapshot.targets[policy.name, version.name]:
                chosen = ((headers.MODEL_VERSION, target.version), (headers.GPU_POOL, target.pool))
                conditions = [_header(name, {"exact": headers.safe_value(value)}) for name, value in chosen if value]
                if conditions:
                    yield from self._grpc_and_other(
                        policy, [owner, *conditions], [(target, 1)], unserved_headers(target)
                    )
        yield from self._fallback(policy, [owner])

    def catch_all(self) -> Iterator[Doc]:
        """For requests on which the processor set no headers: it did not answer, or could read no model.

        A client's version pin is removed: no processor has checked it, and a mesh behind this Envoy would follow it.
        """
        snapshot = self._snapshot
        if not snapshot.policies:
            return iter([_unavailable([])])
        return self._default(snapshot.fallback, [], unserved_headers(None))

    def _fallback(self, policy: Policy, conditions: list[Doc]) -> Iterator[Doc]:
        """To the policy's default version, or without one split by weight; versions of weight 0 get nothing."""
        removed = [] if self._keep_target_headers else unserved_headers(model_only_target(self._snapshot, policy))
        return self._default(policy, conditions, removed)

    def _default(self, policy: Policy, conditions: list[Doc], removed: list[str]) -> Iterator[Doc]:
        shares = weighted_targets(self._snapshot, policy)
        return self._grpc_and_other(policy, conditions, shares, removed) if shares else iter([_unavailable(conditions)])

    def _grpc_and_other(
        self, policy: Policy, conditions: list[Doc], shares: list[tuple[Target, int]], removed: list[str]
    ) -> Iterator[Doc]:
        """One route for gRPC, whose upstream needs HTTP/2, behind TLS one for WebSockets, and after them one for
        everything else; more of each where their targets need other rewriting.

        ``removed``: request headers that the routes remove.
        """
        upgrades = any(target.upstream.tls for target, _ in shares)
        kinds = [(True, False), *([(False, True)] if upgrades else []), (False, False)]
        parts = [(*kind, *part) for kind in kinds for part in split(shares, grpc=kind[0])]
        for grpc, upgrade, fraction, part in parts:
            route = self._destination(part, grpc=grpc, upgrade=upgrade) | _mirrors(self._snapshot, policy, grpc=grpc)
            route |= rewriting(part[0][0], grpc=grpc)
            limits = _timeouts_and_retries(policy, retries=self._body != "streamed" and not grpc)
            fails_over = any(stand_ins(self._snapshot, target) for target, _ in part)
            if "retry_policy" in limits and fails_over:
                limits["retry_policy"] |= next_priority()
            asked = [*conditions, *([_UPGRADE] if upgrade else ()), *([_GRPC_METHOD] if grpc else ())]
            yield {
                "match": _match(asked) | ({"grpc": {}} if grpc else {}) | fraction,
                "route": route | limits,
                **({"request_headers_to_remove": removed} if removed else {}),
                **(response_headers(ANSWERING_POOL) if fails_over else response_headers()),
                **(_mode_override(_GRPC_MODES[self._body]) if grpc and self._body in _GRPC_MODES else {}),
            }

    def _destination(self, shares: list[tuple[Target, int]], *, grpc: bool, upgrade: bool) -> Doc:
        own = ((target, cluster_name(target, grpc=grpc, upgrade=upgrade)) for target, _ in shares)
        names = [routed_cluster(self._snapshot, target, name) for target, name in own]
        if len(shares) == 1:
            return {"cluster": names[0]}
        weighted = [{"name": name, "weight": weight} for name, (_, weight) in zip(names, shares, strict=True)]
        return {"weighted_clusters": {"clusters": weighted}}


def _mode_override(mode: Doc) -> Doc:
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
    return {"typed_per_filter_config": {ROUTE_FILTER: {"@type": kind, "overrides": {"processing_mode": mode}}}}


def unserved_headers(target: Target | None) -> list[str]:
    """Request headers that a route removes because they name a version or GPU pool that does not serve the request.

    Envoy copies them to the response, so they are absent there too. ``target``: the one that the route leads to. None:
    the route is for requests that matched no target's route, such as those for a version that was added to the policy
    after these routes were rendered.
    """
    if target is None:
        return [*_TARGET_HEADERS]
    return [] if target.pool else [headers.GPU_POOL]


def model_only_target(snapshot: Snapshot, policy: Policy) -> Target | None:
    """The policy's target without version and pool, if any: the route by policy alone leads to it. A version in the
    headers of its requests is the one that the API's request itself named.
    """
    found = snapshot.targets.get((policy.name, ""), ())
    return next((target for target in found if not target.pool), None)


def weighted_targets(
    snapshot: Snapshot, policy: Policy, max_total: int = _MAX_TOTAL_WEIGHT
) -> list[tuple[Target, int]]:
    """Each target with its weight: a version's weight is divided among its pools by their number of endpoints.

    ``max_total``: limit for the sum of the weights. Empty where no version has a target.
    """
    if policy.default:
        weights = {policy.default: 1}
    else:
        weights = {v.name: v.weight for v in policy.answering or (Version(""),) if v.weight > 0}
    served = [(w, nearest) for name, w in weights.items() if (nearest := snapshot.tiers[policy.name, name][0])]
    common = lcm(*(sum(len(t.endpoints) for t in targets) for _, targets in served))
    shares = [
        (target, weight * len(target.endpoints) * common // sum(len(t.endpoints) for t in targets))
        for weight, targets in served
        for target in targets
    ]
    if (total := sum(weight for _, weight in shares)) <= max_total:
        return shares
    return [(target, max(1, weight * (max_total - len(shares)) // total)) for target, weight in shares]


def _unavailable(conditions: list[Doc]) -> Doc:
    return {"match": _match(conditions), "direct_response": {"status": 503}}


def _match(conditions: Sequence[Doc]) -> Doc:
    match: Doc = {"prefix": "/"}
    for condition in conditions:
        match |= {key: match.get(key, []) + wanted for key, wanted in condition.items()}
    return match


def _mirrors(snapshot: Snapshot, policy: Policy, *, grpc: bool) -> Doc:
    """Mirror policies: a mirror's percentage is divided among its pools by their number of endpoints."""
    found: list[Doc] = []
    for version in policy.mirrors:
        targets = snapshot.targets[policy.name, version.name]
        total = sum(len(t.endpoints) for t in targets)
        for target in targets:
            millionths = version.mirror * 10_000 * len(target.endpoints) // total
            found.append(
                {
                    "cluster": cluster_name(target, grpc=grpc),
                    "runtime_fraction": {"default_value": {"numerator": millionths, "denominator": "MILLION"}},
                    "disable_shadow_host_suffix_append": True,
                    **({"host_rewrite_literal": target.server_names(grpc=grpc)[0]} if target.upstream.tls else {}),
                }
            )
    return {"request_mirror_policies": found} if found else {}


def _timeouts_and_retries(policy: Policy, *, retries: bool) -> Doc:
    """A policy's timeout limits the time until the response begins; a streamed answer may take any time after that.

    It becomes Envoy's timeout per try, which ends once response headers were sent to the client. Retries are only for
    failures before a server can have started on the prompt, and never where bodies are streamed: the router keeps what
    it has sent for a retry, and gets it again from the filter chain when the processor's stream ends before the body
    does, so the upstream would receive those bytes twice.
    """
    retry: Doc = {}
    if retries:
        retry = {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 2,
            **avoid_previous_hosts(),
        }
    idle = _STREAM_IDLE_SECONDS
    if policy.timeout is not None:
        retry["per_try_timeout"] = seconds(policy.timeout)
        idle = 3 * policy.timeout + 60  # above what three tries may take: longer is a hang
    return {"timeout": "0s", "idle_timeout": seconds(idle)} | ({"retry_policy": retry} if retry else {})
