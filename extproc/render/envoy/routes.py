"""Envoy routes that follow the processor's headers to the cluster of a target."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import lcm

from extproc import headers
from extproc.exchange.request_body import rest
from extproc.policy.snapshot import ModelMatch, Policy, Snapshot, Target, Version
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

ROUTES = NAMESPACE
"""Name of the one route configuration."""

BODY_MARGIN = 64 << 10
"""By this much Envoy's own limit lies above what we take: our 413 comes first, and says why."""
_STREAM_IDLE_SECONDS = 3600.0
"""Seconds without a byte in either direction that end a stream where the policy names no timeout."""

_MAX_TOTAL_WEIGHT = (1 << 32) - 1
"""What the weights of one route may come to in Envoy."""

_GRPC_MODES: dict[Body, Doc] = {
    "buffered": request_mode("STREAMED"),
    # Streamed without waiting is not to be had there.
    "native": request_mode("FULL_DUPLEX_STREAMED") | {"request_trailer_mode": "SEND"},
}
"""How gRPC calls are shown, where not as everything else: their requests may be streams, which nobody can gather."""

_ANSWER_HEADERS = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL)
_TARGET_HEADERS = (headers.MODEL_VERSION, headers.GPU_POOL, headers.GPU_ARCHITECTURE)
"""What the processor says of the target that it has chosen."""
_SERVER_TIMING = (
    "route;dur=%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%, "
    "upstream;dur=%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)%, "
    "total;dur=%RESPONSE_DURATION%"
)


def route_configuration(snapshot: Snapshot, options: EnvoyOptions, *, onward: bool = False) -> Doc:
    """For each pattern the routes to its targets, then one by model alone; last what no model is known of.

    ``onward``: a mesh behind goes by what the processor has said, so it is all passed on.
    """
    make = _Routes(snapshot, options.body, onward=onward)
    routes = [route for policy, match in _owners(snapshot) for route in make.policy(policy, match)]
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
    """Bytes of a request's body that Envoy may gather."""
    return snapshot.body_limit + (rest(snapshot.body_limit) if body == "buffered" else 0) + BODY_MARGIN


def _owners(snapshot: Snapshot) -> Iterator[tuple[Policy, Doc]]:
    """Which models belong to whom, in the order in which they are tried: exact first, one a policy."""
    exact: dict[str, list[str]] = {}
    globs = []
    for match in snapshot.patterns:
        if "*" in match.pattern:
            globs.append((match.policy, _glob(match)))
        else:
            exact.setdefault(match.policy.name, []).append(headers.safe_value(match.pattern))
    for policy, names in exact.items():
        text = {"exact": names[0]} if len(names) == 1 else {"safe_regex": {"regex": _either(names)}}
        yield snapshot.by_name[policy], _header(headers.MODEL_NAME, text)
    yield from globs


def _glob(match: ModelMatch) -> Doc:
    if owns_all(match):
        # Also requests of which the API names no model. The processor's word that it was this policy's keeps out
        # a version pin that no processor has seen.
        owner = {"string_match": {"exact": match.policy.name}}
        return {"dynamic_metadata": [{"filter": NAMESPACE, "path": [{"key": "policy"}], "value": owner}]}
    regex = ".*".join(literal(headers.safe_value(part)) for part in match.pattern.split("*"))
    return _header(headers.MODEL_NAME, {"safe_regex": {"regex": regex}})


def owns_all(match: ModelMatch) -> bool:
    """Whether every model is this policy's, also where the API names none."""
    return not match.pattern.strip("*")


def _either(names: Sequence[str]) -> str:
    return "|".join(map(literal, names))


def literal(text: str) -> str:
    """``text`` for RE2, which unlike Python rejects a backslash before some characters."""
    return re.sub(r"[^A-Za-z0-9_%/:@=,~-]", lambda m: f"[{m[0]}]" if m[0] not in "^[]\\" else f"\\{m[0]}", text)


def _header(name: str, text: Doc) -> Doc:
    return {"headers": [{"name": name, "string_match": text}]}


class _Routes:
    """Makes routes; ``body``: see ``EnvoyOptions``, ``onward``: see ``route_configuration``."""

    def __init__(self, snapshot: Snapshot, body: Body, *, onward: bool) -> None:
        self._snapshot = snapshot
        self._body = body
        self._onward = onward

    def policy(self, policy: Policy, owner: Doc) -> Iterator[Doc]:
        """One to each of the policy's targets, and one for what names none of them."""
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
        """Requests of which the processor said nothing: it did not answer, or no model could be read.

        A pin that it has not seen goes no further: a mesh behind this Envoy would believe it.
        """
        snapshot = self._snapshot
        if not snapshot.policies:
            return iter([_unavailable([])])
        policy = next((m.policy for m in snapshot.patterns if owns_all(m)), snapshot.policies[0])
        return self._default(policy, [], unserved_headers(None))

    def _fallback(self, policy: Policy, conditions: list[Doc]) -> Iterator[Doc]:
        """To the policy's default; without one the load stays split by weight, and those of weight 0 get nothing."""
        removed = [] if self._onward else unserved_headers(model_only_target(self._snapshot, policy))
        return self._default(policy, conditions, removed)

    def _default(self, policy: Policy, conditions: list[Doc], removed: list[str]) -> Iterator[Doc]:
        shares = weighted_targets(self._snapshot, policy)
        return self._grpc_and_other(policy, conditions, shares, removed) if shares else iter([_unavailable(conditions)])

    def _grpc_and_other(
        self, policy: Policy, conditions: list[Doc], shares: list[tuple[Target, int]], removed: list[str]
    ) -> Iterator[Doc]:
        """The same twice: in front for gRPC, which needs HTTP/2 to the upstream, then for everything else.

        ``removed``: headers that do not go on with the request.
        """
        for grpc in (True, False):
            route = _destination(shares, grpc=grpc) | _mirrors(self._snapshot, policy, grpc=grpc)
            yield {
                "match": _match(conditions) | ({"grpc": {}} if grpc else {}),
                "route": route | _timeouts_and_retries(policy, retries=self._body != "streamed" and not grpc),
                **({"request_headers_to_remove": removed} if removed else {}),
                **response_headers(),
                **(_mode_override(_GRPC_MODES[self._body]) if grpc and self._body in _GRPC_MODES else {}),
            }


def _mode_override(mode: Doc) -> Doc:
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
    return {"typed_per_filter_config": {ROUTE_FILTER: {"@type": kind, "overrides": {"processing_mode": mode}}}}


def unserved_headers(target: Target | None) -> list[str]:
    """Headers that a route takes off its requests: they would claim a version or GPU pool that is not reached on it.

    Envoy makes the response's from the request's, so they are gone there too. ``target``: whose own route it is. None:
    it is for what matched no target's route, as where the processor decides by a policy that has a version more than
    the one that the routes were rendered from.
    """
    if target is None:
        return [*_TARGET_HEADERS]
    return [] if target.pool else [headers.GPU_POOL]


def model_only_target(snapshot: Snapshot, policy: Policy) -> Target | None:
    """The target that has neither version nor pool: the route by the policy's models alone is its own. What its
    requests say of a version is what they themselves have named.
    """
    found = snapshot.targets.get((policy.name, ""), ())
    return next((target for target in found if not target.pool), None)


def weighted_targets(
    snapshot: Snapshot, policy: Policy, max_total: int = _MAX_TOTAL_WEIGHT
) -> list[tuple[Target, int]]:
    """Each target with its weight: a version's weight, spread over its pools by their endpoints.

    ``max_total``: what the weights may come to. Nothing where nobody can answer.
    """
    if policy.default:
        weights = {policy.default: 1}
    else:
        weights = {v.name: v.weight for v in policy.answering or (Version(""),) if v.weight > 0}
    served = [(weight, targets) for name, weight in weights.items() if (targets := snapshot.targets[policy.name, name])]
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


def _destination(shares: list[tuple[Target, int]], *, grpc: bool) -> Doc:
    if len(shares) == 1:
        return {"cluster": cluster_name(shares[0][0], grpc=grpc)}
    weighted = [{"name": cluster_name(target, grpc=grpc), "weight": weight} for target, weight in shares]
    return {"weighted_clusters": {"clusters": weighted}}


def _mirrors(snapshot: Snapshot, policy: Policy, *, grpc: bool) -> Doc:
    """Copies of requests, a mirror's share spread over its pools by their endpoints."""
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
                }
            )
    return {"request_mirror_policies": found} if found else {}


def _timeouts_and_retries(policy: Policy, *, retries: bool) -> Doc:
    """A policy's timeout runs until the response begins: an answer that streams may take as long as it likes.

    That is Envoy's timeout per try, which no longer counts once anything went to the client. A retry is made
    only where no server can have begun with the prompt, and never where bodies come streamed: for a retry the router
    keeps what it has sent, and gets it a second time from the filter chain when the processor's stream ends before
    the body does. The upstream would be sent the same bytes twice.
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
        idle = 3 * policy.timeout + 60  # longer than an answer may take to begin, retries included: hung
    return {"timeout": "0s", "idle_timeout": seconds(idle)} | ({"retry_policy": retry} if retry else {})


def response_headers() -> Doc:
    """Response headers, of a route or a virtual host.

    Envoy leaves a header out where its value is empty, and removes before it adds: what the upstream says of itself
    under these names never reaches the client.
    """
    return {
        "response_headers_to_remove": ["server-timing", *_ANSWER_HEADERS],
        "response_headers_to_add": [
            _response_header("server-timing", _SERVER_TIMING),
            *(_response_header(name, f"%REQ({name})%") for name in _ANSWER_HEADERS),
        ],
    }


def _response_header(name: str, value: str) -> Doc:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
