"""``extproc explain``: what would become of a request, and why, by the very code that serves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from extproc.bodies.grpc_message import is_grpc
from extproc.bodies.request import Operation
from extproc.envoy.actions import Answer, BodyReply, HeadersReply, Reject
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.explain_follow_ups import follow_up_caveat
from extproc.exchange.notes import Unmatched
from extproc.exchange.route import RouteStream
from extproc.exchange.waiting_pick import WaitingPick
from extproc.headers import DESTINATION_ENDPOINT, MODEL_VERSION, Headers, safe_value
from extproc.picking.endpoint_state import EndpointState
from extproc.policy import unowned_requests
from extproc.policy.decision import DEFAULT, FAILOVER, MATCH, PIN, SESSION, STICKY, Decision, matched_entry
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.sticky_key import cookie
from extproc.policy.target import Target
from extproc.policy.unreadable_requests import UNKNOWN_PATH

if TYPE_CHECKING:
    from extproc.exchange.explain_picks import ExplainedPicks

_STREAMED = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)

UNMATCHED = {
    "no_api": "method and path belong to no inference API that is known here",
    "no_body": "the request has no body, and its API names the model there",
    "no_model": "the request names no model",
    "no_policy": "no policy owns this model",
    "bad_model": "the model's name is empty, too long or no text",
    "bad_json": "the body is not a JSON object",
    "bad_multipart": "the body is not a form that every server would read alike",
    "bad_grpc": "the body is not a gRPC message of this API",
    "content_type": "the body is no form, which its API wants",
    "content_encoding": "the body's compression is not known, or its data is broken",
    "truncated": "the body ends before the model is told",
    "streamed_request": "the client sends message after message, and this Envoy shows a body only when it is complete",
}
"""Why a request passes on unrouted, by the reasons that ``inference_unmatched_total`` counts."""


_WAITS = "; all its servers are saturated, so it waits until one has room, or for as long as the proxy lets it"


def explain(
    snapshot: Snapshot,
    method: str,
    path: str,
    fields: Sequence[tuple[str, str]],
    body: bytes,
    entropy: bytes | None = None,
    *,
    endpoints: Mapping[str, EndpointState] | None = None,
) -> Mapping[str, Any]:
    """What ``aimesh.route`` would do with a request, as plain data (the contract's ``explain`` JSON).

    ``fields``: headers as typed. ``entropy``: for a repeatable draw where no sticky key decides. ``endpoints``:
    what is known of servers, by ``host:port``; then the score of each that may be picked is told.
    """
    headers = Headers.of([(":method", method), (":path", path), *fields])
    if body and "content-length" not in headers:
        headers = Headers([*headers, ("content-length", str(len(body)).encode())])
    picks = _picks(snapshot, endpoints or {})
    stream = RouteStream(snapshot, os.urandom(8) if entropy is None else entropy, picks=picks)
    actions = list(stream.receive(RequestHeaders(headers, not body, _STREAMED)))
    if not actions:
        actions += stream.receive(RequestBody(body, end_of_stream=True))
    setting: dict[str, str] = {}
    removed: list[str] = []
    reject = None
    reason = ""
    waits = ""
    rewritten = False
    for action in actions:
        match action:
            case HeadersReply():
                picked = action.mutation.endpoints
                setting = dict(action.mutation.set) | ({DESTINATION_ENDPOINT: picked} if picked else {})
                removed = list(action.mutation.remove)
            case BodyReply():
                rewritten = True
            case Reject():
                reject = {"status": action.status, "code": action.code, "message": action.message}
                reason = _why_refused(action)
            case Answer():
                reason = "the processor itself answers, with the names of models that policies own"
            case WaitingPick():
                waits = _WAITS
            case Unmatched():
                reason = UNMATCHED[action.reason] + _where_unrouted(snapshot)
    request, decision, operation = stream.request, stream.decision, stream.operation
    renamed = rewritten or operation.rename is not None
    return {
        "api": operation.api or None,
        "operation": (request.operation if request else operation.name) or None,
        "model": (request.model if request else operation.model) or None,
        "stream": request.stream if request else operation.stream,
        "max_tokens": request.max_tokens if request else None,
        "prompt_bytes": request.prompt_bytes if request else 0,
        "adapter": request.adapter if request else None,
        "version": decision.version or None if decision else None,
        "cohort": decision.cohort or None if decision else None,
        "gpu_pool": decision.pool or None if decision else None,
        "endpoints": _endpoints(snapshot, decision, headers) if decision else [],
        "load_balancer": _load_balancer(snapshot, decision) if decision else None,
        "headers": setting,
        "removed": removed,
        "policy": decision.policy.name if decision and decision.policy else None,
        "model_rewrite": decision.model_rewrite or None if decision and renamed else None,
        "reason": reason or (_reason(operation, decision, snapshot, headers) + waits if decision else ""),
        "reject": reject,
        **({} if endpoints is None else {"scores": [] if picks is None else picks.rows()}),
    }


def _picks(snapshot: Snapshot, states: Mapping[str, EndpointState]) -> ExplainedPicks | None:
    if not any(policy.picking for policy in snapshot.policies):
        return None
    from extproc.exchange.explain_picks import ExplainedPicks  # numpy takes a tenth of a second to load

    return ExplainedPicks(states)


def _endpoints(snapshot: Snapshot, decision: Decision, headers: Headers) -> list[str]:
    """The servers of the target, of which one gets the request."""
    return [e for target in _targets(snapshot, decision) for e in target.servers(grpc=is_grpc(headers))]


def _load_balancer(snapshot: Snapshot, decision: Decision) -> str | None:
    """How the proxy chooses one of them: a word, or ``consistentHash`` and the header."""
    return next((str(target.load_balancer) for target in _targets(snapshot, decision)), None)


def _targets(snapshot: Snapshot, decision: Decision) -> list[Target]:
    """The target, if any; of a policy without versions its only one."""
    if decision.policy is None:
        return []
    name = decision.policy.name
    found = snapshot.targets.get((name, decision.version)) or snapshot.targets.get((name, ""), ())
    return [target for target in found if target.pool == decision.pool]


def _where_unrouted(snapshot: Snapshot) -> str:
    """Where our own Envoy sends what no policy owns; a mesh, by the host that was called."""
    if not snapshot.policies:
        return ""
    return f"; it passes on unrouted, which is to the servers of the policy {snapshot.fallback.name}"


def _why_refused(reject: Reject) -> str:
    if reject.code == unowned_requests.CODE:
        return f"{UNMATCHED['no_policy']}; a policy has onUnowned: reject"
    if reject.code == UNKNOWN_PATH:
        return f"{UNMATCHED['no_api']}; servers get a key of ours (credentials), which is for nothing else"
    unread = UNMATCHED.get(reject.code)
    return f"{unread}; a policy has onUnreadable: reject" if unread else reject.message


def _reason(operation: Operation, decision: Decision, snapshot: Snapshot, headers: Headers) -> str:
    policy = decision.policy
    if policy is None:
        return ""
    return _why(decision, policy, snapshot, headers) + follow_up_caveat(operation, decision, policy, snapshot, headers)


def _why(decision: Decision, policy: Policy, snapshot: Snapshot, headers: Headers) -> str:
    where = _where(decision, policy, snapshot)
    if decision.cohort == SESSION:
        return f"the session is at {decision.version or policy.name}, as the tag in its id says{where}"
    owned = repr(decision.request.model) if decision.request.model else "requests that name no model"
    owner = f"policy {policy.name} owns {owned} by its pattern {decision.pattern!r}"
    if not decision.pattern:
        owner = f"it names no model, and the servers of policy {policy.name} get such requests"
    return f"{owner}; {_why_version(decision, policy, headers)}{where}{_ignored_pin(policy, headers)}"


def _where(decision: Decision, policy: Policy, snapshot: Snapshot) -> str:
    """The pool, and where processors know their place, whether it is this one of several for that."""
    if not decision.pool:
        return ""
    where = f", on GPU pool {decision.pool}"
    tiers = snapshot.tiers.get((policy.name, decision.version)) or snapshot.tiers.get((policy.name, ""), ((),))
    if not snapshot.locality or sum(map(len, tiers)) == 1:
        return where
    if len(tiers) == 1:
        return f"{where}; its pools are equally far from {snapshot.locality}"
    is_nearest = any(target.pool == decision.pool for target in tiers[0])
    return f"{where}, the nearest to {snapshot.locality}" if is_nearest else where


def _why_version(decision: Decision, policy: Policy, headers: Headers) -> str:
    version = decision.version
    if decision.cohort == MATCH and (entry := matched_entry(policy.by_name[version], headers)):
        return f"{version} because the request has " + " and ".join(f"{n}: {v.decode()}" for n, v in entry.headers)
    if decision.cohort == PIN:
        return f"{version} because the client pins it and the policy allows that"
    if decision.cohort == STICKY:
        return f"{version} because that is where the weights put {_key_text(policy, headers)}{_rollout_text(policy)}"
    if decision.cohort == FAILOVER:
        return f"{version} answers, since the version that it belongs to has no server at present"
    if policy.versions and decision.cohort == DEFAULT:
        only = len(policy.answering) == 1
        return f"{version} is its only version" if only else f"{version} is its default; the request has no sticky key"
    if decision.cohort == DEFAULT:
        return f"it has no versions, the request names {version}" if version else "it has no versions"
    why = "; the request has no sticky key" if policy.sticky else ""
    return f"{version} was drawn by weight{why}{_rollout_text(policy)}"


def _ignored_pin(policy: Policy, headers: Headers) -> str:
    """Why the client's ``x-model-version`` does not count, where it can't."""
    pinned = headers.get(MODEL_VERSION)
    if pinned is None or not policy.versions:
        return ""
    why = "no version has this name" if policy.allow_pin else "allowPin is false"
    named = pinned.decode("utf-8", "replace") in policy.by_name
    return "" if policy.allow_pin and named else f"; {MODEL_VERSION}: {_printable(pinned)} is ignored: {why}"


def _rollout_text(policy: Policy) -> str:
    """Where a rollout has the weights from the file changed."""
    plan, state = policy.rollout, policy.rollout_state
    if plan is None:
        return ""
    return (
        f"; the rollout to {plan.to} is {state.phase} at {state.percent} %"
        if state
        else (f"; the rollout to {plan.to} has not begun")
    )


def _key_text(policy: Policy, headers: Headers) -> str:
    sticky = policy.sticky
    if sticky is None or sticky.body:
        return "the key at /" + "/".join(sticky.body if sticky else ())
    if sticky.header:
        return f"{sticky.header}: {_printable(headers.get(sticky.header))}"
    return f"the cookie {sticky.cookie}={_printable(cookie(headers, sticky.cookie))}"


def _printable(value: bytes | None) -> str:
    return safe_value((value or b"").decode("utf-8", "replace"))
