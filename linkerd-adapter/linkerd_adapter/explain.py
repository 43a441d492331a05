"""``linkerd-adapter explain``: which backend a request would reach, and why.

The processor's own decision (``extproc.exchange.explain``) gives the headers, ``policy_controller`` and
``route_selection`` what Linkerd does with them. Pure, except that without ``entropy`` a version is drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from extproc.exchange.explain import explain as decide
from extproc.headers import ROUTING, Headers
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from linkerd_adapter import plan, route_selection
from linkerd_adapter.names import Service
from linkerd_adapter.plan import Apex
from linkerd_adapter.policy_controller import Cluster, IgnoredResource, RoutesDisabled
from linkerd_adapter.routes import http_routes
from linkerd_adapter.services import services


class ClientRequest(msgspec.Struct, frozen=True):
    """A request as the client sends it."""

    method: str
    path: str
    """With its query."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def explain(
    snapshot: Snapshot,
    gateway: Service,
    request: ClientRequest,
    resources: Sequence[Doc] | None = None,
    entropy: bytes | None = None,
) -> dict[str, Any]:
    """The outcome of the request, as plain data for JSON.

    ``resources``: those of a cluster; None: those that ``render`` would write. ``entropy``: makes the draw of a
    version repeatable, as in ``extproc explain``.

    Raises ``UnrenderableError`` for policies that Linkerd can't carry out.
    """
    made = plan.make(snapshot, gateway.namespace)
    decision = decide(snapshot, request.method, request.path, request.headers, request.body, entropy)
    apex = made.apex_of(snapshot.by_name[decision["policy"]] if decision["policy"] else _catch_all(snapshot))
    result: dict[str, Any] = {
        "decision": decision,
        "apex": {"service": apex.service.name, "namespace": apex.service.namespace, "port": apex.port},
        "route": None,
        "backend": None,
        "backends": [],
        "status": None,
        "reset": False,
        "reason": "",
        "ignored": [],
    }
    if decision["reject"]:
        return result | {"status": decision["reject"]["status"], "reason": f"the gateway answers: {decision['reason']}"}
    if resources is None:
        rendered = [d for a in made.apexes for d in (*services(made, a, None, None), *http_routes(snapshot, made, a))]
        cluster = Cluster(rendered, live=False)
    else:
        cluster = Cluster(resources, live=True)
    return result | _behind_gateway(cluster, apex, gateway, gateway_request(request, decision))


def gateway_request(request: ClientRequest, decision: Mapping[str, Any]) -> route_selection.Request:
    """The request as the gateway sends it to the apex."""
    setting = dict(decision["headers"])
    replaced = {*ROUTING, *decision["removed"], *setting}
    kept = [(name, value) for name, value in request.headers if name.lower() not in replaced]
    host = next((value for name, value in request.headers if name.lower() == "host"), "")
    path = setting.pop(":path", request.path)
    return route_selection.Request(request.method, path, Headers.of([*kept, *setting.items()]), host)


def _behind_gateway(cluster: Cluster, apex: Apex, gateway: Service, request: route_selection.Request) -> dict[str, Any]:
    """The outcome from the gateway's Linkerd proxy on."""
    parent = route_selection.Backend(apex.service.namespace, apex.service.name, apex.port)
    routes, ignored = cluster.routes(apex.service, apex.port, gateway.namespace)
    outcome: dict[str, Any] = {"ignored": [_as_dict(i) for i in (*ignored, *cluster.unreadable)]}
    grpc = request.headers.text("content-type").startswith("application/grpc")
    if disabled := cluster.routes_disabled(apex.service, apex.port, gateway.namespace, grpc=grpc):
        return outcome | _without_routes(cluster, parent, disabled)
    if not routes:
        return outcome | _to_apex(cluster, parent, f"no HTTPRoute has {apex.service} as its parent")
    if fatal := route_selection.fatal_rule(routes):
        why = f"{fatal}: the proxy fails on it, and closes every connection to {apex.service}"
        return outcome | {"reset": True, "reason": why}
    selection = route_selection.select(routes, request)
    if selection is None:
        return outcome | {"status": 404, "reason": f"{apex.service} has HTTPRoutes, and no rule of theirs matches"}
    route, number = selection.route, selection.number
    outcome["route"] = {"name": route.name, "namespace": route.namespace, "rule": number, "of": len(route.rules)}
    why = f"rules[{number}] of {route.name}: {_match_reason(selection, request)}"
    if selection.rule.redirect:
        return outcome | {"reason": f"{why}; it redirects the client"}
    if cluster.http2_only(apex.service, apex.port) and not grpc:
        why += "; the port takes HTTP/2 only: the gateway must be rendered with --app-protocol kubernetes.io/h2c"
    rule = selection.rule if selection.rule.backends else route_selection.Rule(backends=(parent,))
    shares = route_selection.shares(rule, cluster.available)
    dead = [b for b in rule.backends if not b.broken and b.weight and not cluster.available(b)]
    if dead and shares:
        names = " and ".join(map(str, dead))
        why += f"; {names} has no ready endpoint: after each pause requests drawn to it wait 3 s and get 504 at first"
    outcome["backends"] = [
        {
            "service": b.name,
            "namespace": b.namespace,
            "port": b.port,
            "weight": b.weight,
            "share": float(shares.get(b, 0)),
            "available": not b.broken and cluster.available(b),
        }
        for b in rule.backends
    ]
    return outcome | _backend_outcome(shares, why)


def _backend_outcome(shares: Mapping[route_selection.Backend, Fraction], why: str) -> dict[str, Any]:
    if not shares:
        return {"status": 504, "reason": f"{why}; none of its backends has a ready endpoint: it waits 3 s, and fails"}
    if len(shares) > 1:
        broken = [f"{b} answers {b.status}: {b.broken}" for b in shares if b.broken]
        return {"reason": "; ".join((why, "a backend is drawn by weight", *broken))}
    (only,) = shares
    if only.broken:
        return {"status": only.status, "reason": f"{why}; its backend can't be used: {only.broken}"}
    return {"backend": str(only), "reason": why}


def _without_routes(cluster: Cluster, parent: route_selection.Backend, disabled: RoutesDisabled) -> dict[str, Any]:
    """What becomes of a request where no HTTPRoute counts."""
    why = f"no HTTPRoute counts: {disabled.why}"
    match disabled.outcome:
        case "reset":
            return {"reset": True, "reason": f"{why}; the proxy resets the connection"}
        case "unreachable":
            return {"status": 503, "reason": f"{why}, and so no address for the gateway's Envoy to dial"}
        case "elsewhere":
            return {"reason": why}
    return _to_apex(cluster, parent, why)


def _to_apex(cluster: Cluster, parent: route_selection.Backend, why: str) -> dict[str, Any]:
    if not cluster.available(parent):
        return {"status": 504, "reason": f"{why}; and {parent} has no ready endpoint: it waits 3 s, and fails"}
    return {"backend": str(parent), "reason": f"{why}, so that any pod of {parent.name} may answer"}


def _match_reason(selection: route_selection.Selection, request: route_selection.Request) -> str:
    names = [value.name.lower() for match in selection.rule.matches for value in match.headers]
    seen = [f"{name}: {request.headers.text(name)}" for name in dict.fromkeys(names)]
    return " and ".join(seen) if seen else "it has no condition, and no other rule fits better"


def _as_dict(ignored: IgnoredResource) -> dict[str, str]:
    return {"route": ignored.name, "why": ignored.why}


def _catch_all(snapshot: Snapshot) -> Policy:
    """The policy to whose apex the gateway sends requests that no policy owns."""
    return next((m.policy for m in snapshot.patterns if not m.pattern.strip("*")), snapshot.policies[0])
