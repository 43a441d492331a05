"""From which parts of the policies a rendering was made: written into it, and compared with policies later.

``parts`` lists all that manifests depend on; what it does not list (values of ``match``, ``minMemory``, the name of a
``modelRewrite``, paths, custom metrics of bodies) takes effect without a new rendering. Every manifest has the text as
an annotation. The filters also send it with each stream, so that the processor can compare it: there without weights,
since a changed text changes the listener, and Envoy then drains its connections. An Envoy that is rendered whole has
the text in the metadata of its routes instead, which change with the policy anyway.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from extproc.policy.load_balancer import LEAST_REQUEST
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.target import Target
from extproc.policy.upstream import PLAIN
from extproc.render.document import Doc
from extproc.render.envoy.clusters import retry_budget
from extproc.render.envoy.envoy_options import NAMESPACE, EnvoyOptions, seconds
from extproc.render.envoy.filters import observe_filter, route_filter
from extproc.render.envoy.routes import weighted_targets
from extproc.render.istio.destinations import Destination, destinations, entry_host, targets
from extproc.render.istio.istio_options import GROUP, IstioOptions, service_host

ANNOTATION = f"{GROUP}/rendered-from"
METADATA = "x-aimesh-rendered-from"
"""gRPC metadata key of the filters' streams."""
ROUTE_METADATA = "rendered-from"
"""Key in the metadata of the routes of an Envoy of our own, where no change of it touches a connection."""

ROUTES = ("hosts", "models", "versions", "pools", "targets", "endpoints", "headers", "answers", "settings", "limits")
"""Parts on which routes and filters depend: where they differ, requests are routed wrongly or not observed."""
WEIGHTS = "weights"
"""Weights by which the default route splits requests while no processor answers."""
SELECTORS = "selectors"
"""Pod selectors of model servers that are timed in their own sidecars."""
OBJECTIVES = "objectives"
"""Service level objectives, on which the rules for Prometheus depend."""
PARTS = (*ROUTES, WEIGHTS, SELECTORS, OBJECTIVES)

OBSERVED_PARTS = ("models", "versions", "pools", "answers")
"""Those of ``ROUTES`` on which a rendering depends that only times requests."""
MAX_PART_LENGTH = 200
"""Characters; a longer part is replaced by its digest."""
_SAFE_TEXT = re.compile(r"[A-Za-z0-9._:/*@+= -]*")
"""Characters that annotations, header values and Envoy's header formatter take unchanged."""
_DEFAULT_ISTIO, _DEFAULT_ENVOY = IstioOptions(), EnvoyOptions()


class Difference(msgspec.Struct, frozen=True):
    """A part in which a rendering and policies differ. Both lists are empty where only digests or the order differ."""

    part: str
    missing: tuple[str, ...] = ()
    """Items that the policies have and the rendering lacks."""
    surplus: tuple[str, ...] = ()
    """Items that only the rendering has."""

    def __str__(self) -> str:
        texts = [f"lacks {', '.join(self.missing)}"] if self.missing else []
        texts += [f"still has {', '.join(self.surplus)}"] if self.surplus else []
        return f"{self.part} ({'; '.join(texts)})" if texts else self.part


def annotation(snapshot: Snapshot, options: IstioOptions) -> str:
    """The text for the annotation of manifests that are rendered with ``options``."""
    return _text(snapshot, _relevant_parts(options))


def pool_annotation(snapshot: Snapshot) -> str:
    """The text for the annotation of InferencePools and the routes to them, which have neither versions nor weights."""
    return _text(snapshot, ("hosts", "models", SELECTORS))


def metadata(snapshot: Snapshot, options: IstioOptions) -> str:
    """The text for the filters' streams: without weights and objectives."""
    return _text(snapshot, [part for part in _relevant_parts(options) if part in (*ROUTES, SELECTORS)])


def route_metadata(snapshot: Snapshot) -> Doc:
    """The metadata of the routes of an Envoy of our own: without weights, which need no rendering."""
    return {"filter_metadata": {NAMESPACE: {ROUTE_METADATA: _text(snapshot, ROUTES)}}}


def differences(text: str, snapshot: Snapshot) -> list[Difference]:
    """Where the rendering with this text differs from ``snapshot``. Parts that either lacks are not compared."""
    theirs = _decoded(text)
    found = []
    for part, items in parts(snapshot).items():
        value = theirs.get(part)
        mine = _encoded(items)
        if value is None or value == mine:
            continue
        if value.startswith("#") or mine.startswith("#"):
            found.append(Difference(part))
        else:
            old = value.split(", ") if value else []
            missing = tuple(item for item in items if item not in old)
            found.append(Difference(part, missing, tuple(item for item in old if item not in items)))
    return found


def concerns(text: str, snapshot: Snapshot) -> bool:
    """Whether the rendering with this text may contain some policy of ``snapshot``."""
    hosts = _decoded(text).get("hosts", "#")
    return hosts.startswith("#") or any(host.partition(" ")[0] in snapshot.by_name for host in hosts.split(", "))


def parts(snapshot: Snapshot) -> dict[str, Sequence[str]]:
    """Everything in ``snapshot`` that manifests may depend on, as lists of texts by the part's name."""
    plain, of_grpc = (destinations(snapshot, _DEFAULT_ISTIO, grpc=grpc) for grpc in (False, True))
    stood_in = {d.target.policy for d in (*plain.values(), *of_grpc.values()) if d.tiers}
    return {
        "hosts": [
            f"{p.name} {p.namespace or '-'} {service_host(p, _DEFAULT_ISTIO)}:{p.port}" for p in snapshot.policies
        ],
        "models": [f"{match.policy.name} {match.pattern}" for match in snapshot.patterns],
        "versions": [_version(p, v.name, v.mirror) for p in snapshot.policies for v in p.versions],
        "pools": [pool.name for pool in snapshot.pools],
        "targets": [_target(target) for found in targets(snapshot).values() for target in found],
        "endpoints": [*_endpoints(snapshot, plain, grpc=False), *_endpoints(snapshot, of_grpc, grpc=True)],
        "headers": _policy_headers(route_filter, snapshot),
        "answers": _policy_headers(observe_filter, snapshot),
        "settings": [*_settings(snapshot)],
        "limits": [
            f"maxBody {snapshot.body_limit}",
            *(limit for policy in snapshot.policies for limit in _limits(policy, stood_in=policy.name in stood_in)),
            *(limit for found in targets(snapshot).values() for target in found for limit in _balancing(target)),
        ],
        WEIGHTS: [
            f"{_target(target)} {weight}"
            for policy in snapshot.policies
            for target, weight in weighted_targets(snapshot, policy)
        ],
        SELECTORS: [
            " ".join((p.name, p.namespace or "-", *(f"{key}={value}" for key, value in p.selector)))
            for p in snapshot.policies
        ],
        OBJECTIVES: [f"{p.name} {msgspec.json.encode((p.models, p.slo)).decode()}" for p in snapshot.policies],
    }


def _relevant_parts(options: IstioOptions) -> Iterable[str]:
    yield from (ROUTES if options.routes else OBSERVED_PARTS)
    if options.routes:
        yield WEIGHTS
    if "inbound" in options.proxies:
        yield SELECTORS
    if options.rules:
        yield OBJECTIVES


def _version(policy: Policy, name: str, mirror: int) -> str:
    return f"{policy.name}/{name}" + (f" mirror {mirror}" if mirror else "")


def _target(target: Target) -> str:
    version = f"{target.policy}/{target.version}" if target.version else target.policy
    return f"{version}@{target.pool}" if target.pool else version


def _endpoints(snapshot: Snapshot, found: Mapping[Target, Destination], *, grpc: bool) -> Iterator[str]:
    """Endpoints that are not the policy's own ``host:port``."""
    for target, destination in found.items():
        policy, name = snapshot.by_name[target.policy], _target(target) + " grpc" * grpc
        if grpc and not target.grpc_endpoints:
            continue
        if target.upstream != PLAIN:
            name += " " + hashlib.sha256(msgspec.json.encode(target.upstream)).hexdigest()[:8]
        if destination.host == entry_host(policy, grpc=grpc):
            pool = snapshot.pool_by_name.get(target.pool)
            place = f" in {pool.locality}" if pool and pool.locality else ""
            yield f"{name} {' '.join(destination.endpoints)}{place}"
        elif grpc or target.upstream != PLAIN or destination.host != service_host(policy, _DEFAULT_ISTIO):
            yield f"{name} {destination.host}:{destination.port}"


def _policy_headers(make: Callable[[Snapshot, EnvoyOptions], Doc], snapshot: Snapshot) -> list[str]:
    """Headers that a filter sends to the processor only because of these policies."""
    mine, always = (
        [pattern["exact"] for pattern in made["typed_config"]["forward_rules"]["allowed_headers"]["patterns"]]
        for made in (make(snapshot, _DEFAULT_ENVOY), make(Snapshot(), _DEFAULT_ENVOY))
    )
    return [name for name in mine if name not in always]


def _settings(snapshot: Snapshot) -> Iterator[str]:
    yield "access log"  # what is rendered without it is older
    if any(policy.allow_pin for policy in snapshot.policies):
        yield "allowPin"
    if any(policy.rewrites_model for policy in snapshot.policies):
        yield "modelRewrite"


def _limits(policy: Policy, *, stood_in: bool) -> Iterator[str]:
    """``stood_in``: others answer while some pool can't, for which ``onNoGpu`` may be the reason."""
    if policy.timeout is not None:
        yield f"{policy.name} timeout {seconds(policy.timeout)}"
    budget = retry_budget(policy)
    yield f"{policy.name} retries {budget['budget_percent']['value']:g} {budget['min_retry_concurrency']}"
    if policy.picking is not None:
        yield f"{policy.name} picking"
    elif stood_in and not policy.reject_without_gpu:
        yield f"{policy.name} onNoGpu ignore"


def _balancing(target: Target) -> Iterator[str]:
    if target.load_balancer != LEAST_REQUEST:
        yield f"{_target(target)} loadBalancer {target.load_balancer}"


def _text(snapshot: Snapshot, wanted: Iterable[str]) -> str:
    found = parts(snapshot)
    return "; ".join(f"{part}={_encoded(found[part])}" for part in wanted)


def _encoded(items: Sequence[str]) -> str:
    text = ", ".join(items)
    if len(text) <= MAX_PART_LENGTH and all(map(_SAFE_TEXT.fullmatch, items)):
        return text
    return f"#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _decoded(text: str) -> dict[str, str]:
    return {part: value for part, _, value in (piece.partition("=") for piece in text.split("; "))}
