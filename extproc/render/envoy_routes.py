"""Envoy routes that follow the processor's headers to the cluster of a target.

Floor 4: may import floors 0 to 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import lcm

from extproc import headers
from extproc.render.envoy_clusters import cluster_name
from extproc.render.envoy_options import NAMESPACE, Doc, elsewhere, seconds
from extproc.view import Policy, Target, Version, View

ROUTES = NAMESPACE
"""Name of the one route configuration."""

_BODY_MARGIN = 64 << 10
"""By this much Envoy's own limit lies above the policy's: our 413 comes first, and says why."""
_QUIET = 3600.0
"""Seconds without a byte in either direction that end a stream where the policy names no timeout."""

_MOST = (1 << 32) - 1
"""What the weights of one route may come to."""

_SHOWN = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL)
_TIMING = (
    "route;dur=%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%, "
    "upstream;dur=%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)%, "
    "total;dur=%RESPONSE_DURATION%"
)


def route_configuration(view: View) -> Doc:
    """For each pattern the routes to its targets, then one by model alone; last what no model is known of."""
    routes = [route for policy, match in _matches(view) for route in _policy_routes(view, policy, match)]
    return {
        "name": ROUTES,
        "virtual_hosts": [
            {
                "name": NAMESPACE,
                "domains": ["*"],
                "request_body_buffer_limit": view.body_limit + _BODY_MARGIN,
                "routes": [*routes, *_catch_all(view)],
            }
        ],
    }


def _matches(view: View) -> Iterator[tuple[Policy, Doc]]:
    """Which models belong to whom, in the order in which they are tried: exact first, one a policy."""
    exact: dict[str, list[str]] = {}
    globs = []
    for match in view.patterns:
        if "*" in match.pattern:
            globs.append((match.policy, _glob(match.pattern)))
        else:
            exact.setdefault(match.policy.name, []).append(headers.safe_value(match.pattern))
    for policy, names in exact.items():
        text = {"exact": names[0]} if len(names) == 1 else {"safe_regex": {"regex": _either(names)}}
        yield view.by_name[policy], {"name": headers.MODEL_NAME, "string_match": text}
    yield from globs


def _glob(pattern: str) -> Doc:
    if not pattern.strip("*"):
        return {"name": headers.MODEL_NAME, "present_match": True}
    regex = ".*".join(_literal(headers.safe_value(part)) for part in pattern.split("*"))
    return {"name": headers.MODEL_NAME, "string_match": {"safe_regex": {"regex": regex}}}


def _either(names: Sequence[str]) -> str:
    return "|".join(map(_literal, names))


def _literal(text: str) -> str:
    """``text`` for RE2, which unlike Python rejects a backslash before some characters."""
    return re.sub(r"[^A-Za-z0-9_%/:@=,~-]", lambda m: f"[{m[0]}]" if m[0] not in "^[]\\" else f"\\{m[0]}", text)


def _policy_routes(view: View, policy: Policy, model: Doc) -> Iterator[Doc]:
    for version in policy.versions or (Version(""),):
        for target in view.targets[policy.name, version.name]:
            match = [model]
            if target.version:
                match.append(_is(headers.MODEL_VERSION, headers.safe_value(target.version)))
            if target.pool:
                match.append(_is(headers.GPU_POOL, headers.safe_value(target.pool)))
            if len(match) > 1:
                yield _route(policy, match, {"cluster": cluster_name(target)})
    yield _fallback(view, policy, [model])


def _is(name: str, value: str) -> Doc:
    return {"name": name, "string_match": {"exact": value}}


def _catch_all(view: View) -> list[Doc]:
    """Requests without `x-model-name`: no processor answered, or no model could be read."""
    if not view.policies:
        return [_nowhere([])]
    heir = next((m.policy for m in view.patterns if not m.pattern.strip("*")), view.policies[0])
    return [_fallback(view, heir, [])]


def _fallback(view: View, policy: Policy, match: list[Doc]) -> Doc:
    """Keeps the load split by the versions' weights; those of weight 0 get nothing."""
    shares = _shares(view, policy)
    if not shares:
        return _nowhere(match)
    if len(shares) == 1:
        return _route(policy, match, {"cluster": cluster_name(shares[0][0])})
    weighted = [{"name": cluster_name(target), "weight": weight} for target, weight in shares]
    return _route(policy, match, {"weighted_clusters": {"clusters": weighted}})


def _shares(view: View, policy: Policy) -> list[tuple[Target, int]]:
    """Each target with its weight: a version's weight, spread over its pools by their endpoints."""
    versions = policy.versions or (Version(""),)
    served = [(v, targets) for v in versions if v.weight > 0 and (targets := view.targets[policy.name, v.name])]
    common = lcm(*(sum(len(t.endpoints) for t in targets) for _, targets in served))
    shares = [
        (target, version.weight * len(target.endpoints) * common // sum(len(t.endpoints) for t in targets))
        for version, targets in served
        for target in targets
    ]
    if (total := sum(weight for _, weight in shares)) <= _MOST:
        return shares
    return [(target, max(1, weight * (_MOST - len(shares)) // total)) for target, weight in shares]


def _nowhere(match: list[Doc]) -> Doc:
    return {"match": _match(match), "direct_response": {"status": 503}}


def _match(conditions: list[Doc]) -> Doc:
    return {"prefix": "/", "headers": conditions} if conditions else {"prefix": "/"}


def _route(policy: Policy, conditions: list[Doc], destination: Doc) -> Doc:
    return {
        "match": _match(conditions),
        "route": destination | _patience(policy),
        # Envoy leaves a header out where its value is empty, and removes before it adds: what the upstream
        # says of itself under these names never reaches the client.
        "response_headers_to_remove": ["server-timing", *_SHOWN],
        "response_headers_to_add": [
            _response_header("server-timing", _TIMING),
            *(_response_header(name, f"%REQ({name})%") for name in _SHOWN),
        ],
    }


def _patience(policy: Policy) -> Doc:
    """A policy's timeout runs until the response begins: an answer that streams may take as long as it likes.

    That is Envoy's timeout per try, which no longer counts once anything went to the client. A retry is made
    only where no server can have begun with the prompt.
    """
    retry: Doc = {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 2,
        **elsewhere(),
    }
    if policy.timeout is None:
        return {"timeout": "0s", "idle_timeout": seconds(_QUIET), "retry_policy": retry}
    retry["per_try_timeout"] = seconds(policy.timeout)
    # Quiet for longer than an answer may take to begin, retries included: hung.
    return {"timeout": "0s", "idle_timeout": seconds(3 * policy.timeout + 60), "retry_policy": retry}


def _response_header(name: str, value: str) -> Doc:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
