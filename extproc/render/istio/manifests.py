"""All manifests for Istio from policies, in the order in which they are to be applied.

Endpoints and subsets come before the routes to them, routes before the filters whose headers they match. Where
something is removed, the routes have to be applied first by themselves (``IstioOptions.routes_only``): Envoy answers
503 where a route names a subset that does not exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from extproc.errors import SetupError
from extproc.policy.snapshot import Snapshot
from extproc.policy.target import Target
from extproc.render.document import Doc, to_yaml
from extproc.render.istio import upstreams
from extproc.render.istio.destination_rules import destination_rules
from extproc.render.istio.envoy_filters import envoy_filters
from extproc.render.istio.istio_options import PROXY_KINDS, RELEASES, IstioOptions, ProxyKind, Release, validated
from extproc.render.istio.prometheus_rule import prometheus_rules
from extproc.render.istio.provenance import ANNOTATION, annotation
from extproc.render.istio.service_entries import service_entries
from extproc.render.istio.telemetry_api import telemetries
from extproc.render.istio.virtual_services import virtual_services

__all__ = ["PROXY_KINDS", "RELEASES", "IstioOptions", "ProxyKind", "Release", "documents", "manifests", "notes"]


def documents(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """The manifests as plain data. Raises ``SetupError`` for contradictory options, duplicate names, and what of a
    policy Istio can't do.
    """
    chosen = validated(options)
    if chosen.routes:
        upstreams.check(snapshot, chosen)
    found = virtual_services(snapshot, chosen) if chosen.routes else []
    if not chosen.routes_only:
        beneath = [*service_entries(snapshot, chosen), *destination_rules(snapshot, chosen)] if chosen.routes else []
        above = [*telemetries(snapshot, chosen), *prometheus_rules(snapshot, chosen), *envoy_filters(snapshot, chosen)]
        found = [*beneath, *found, *above]
    names = Counter((doc["kind"], doc["metadata"]["namespace"], doc["metadata"]["name"]) for doc in found)
    for (kind, where, name), count in names.items():
        if count > 1:
            raise SetupError(f"two of the {kind}s would be called {where}/{name}; rename a host or a policy")
    made_from = annotation(snapshot, chosen)
    for doc in found:
        doc["metadata"].setdefault("annotations", {})[ANNOTATION] = made_from
    return found


def manifests(snapshot: Snapshot, options: IstioOptions) -> str:
    """The manifests as one YAML stream. Raises ``SetupError``."""
    return "---\n".join(to_yaml(document) for document in documents(snapshot, options))


def notes(snapshot: Snapshot, options: IstioOptions) -> list[str]:
    """Texts for the user: what the manifests can't express, or do not do, with these policies and options."""
    found = options.notes()
    if any(policy.retry_budget for policy in snapshot.policies) and not options.since("1.31"):
        found.append(
            f"Istio {options.release} has no budgetInterval: a retry budget is a share of the requests under way, "
            "not of those of ten seconds"
        )
    found += [
        f"policy {policy.name}: manifests do not drive its rollout; "
        f"without the controller {policy.rollout.to} gets nothing"
        for policy in snapshot.policies
        if policy.rollout and policy.rollout_state is None
    ]
    if options.routes:
        found += upstreams.notes(snapshot)
        found += [
            f"policy {name}: its pools are in several places; the nearest one answers where processors have --locality"
            for name in {name: None for (name, _), targets in snapshot.targets.items() if _apart(targets, snapshot)}
        ]
        if "waypoint" in options.proxies and any(policy.picking for policy in snapshot.policies):
            found.append("waypoints choose servers by themselves: picking has no effect there")
    if "inbound" in options.proxies:
        found += [
            f"policy {policy.name} has no selector, so its model servers can't be told apart: not timed there"
            for policy in snapshot.policies
            if not policy.selector
        ]
        if len(options.proxies) > 1:
            found.append("whoever is timed at the client and at the model server is counted twice")
    return found


def _apart(targets: Sequence[Target], snapshot: Snapshot) -> bool:
    """Whether the pools of a version's targets have different localities."""
    pools = [snapshot.pool_by_name.get(target.pool) for target in targets]
    return len({pool.locality for pool in pools if pool and pool.locality}) > 1
