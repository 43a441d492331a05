"""HTTPRoutes: rules for the headers that the processor sets, to the backends of a target; then one by weight.

The one by weight is what a request matches before the processor has answered, so it must be there for the gateway's
filter to run at all.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from extproc import headers
from extproc.errors import SetupError
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.render.document import Doc
from extproc.render.envoy.routes import model_only_target, unserved_headers, weighted_targets
from extproc.render.gateway_api.backends import Backend, backends
from extproc.render.gateway_api.gateway_options import ROUTE_API, GatewayOptions, Service, grant, manifest, namespace

MAX_RULES = 16
"""Of an HTTPRoute, by its CRD; more are spread over several."""
MAX_BACKENDS = 16
MAX_MATCHES = 8
"""Of a rule. The CRD allows 64, and 128 in one route: 16 rules with 8 are as many."""
MAX_WEIGHT = 1_000_000
Conditions = list[Doc]


def http_routes(snapshot: Snapshot, options: GatewayOptions) -> list[Doc]:
    """What backends need, and then the routes to them. Raises ``SetupError`` for what the gateway can't do."""
    make = _Rules(snapshot, options)
    rules: dict[str, list[Doc]] = defaultdict(list)
    for policy, models in owners(snapshot, options):
        rules[namespace(policy, options)] += make.of(policy, models)
    made: dict[tuple[str, str, str], Doc] = {}
    for doc in make.manifests():
        kind, where, name = key = doc["kind"], doc["metadata"]["namespace"], doc["metadata"]["name"]
        if made.setdefault(key, doc) != doc:
            raise SetupError(f"two of the {kind}s would be called {where}/{name}; rename a policy, a version or a host")
    routes = [route for where, found in rules.items() for route in in_routes(where, found, options)]
    return [*made.values(), *routes]


def reached(snapshot: Snapshot) -> list[Target]:
    """The targets that answer clients."""
    return [
        target
        for policy in snapshot.policies
        for version in policy.answering or (Version(""),)
        for target in snapshot.targets[policy.name, version.name]
    ]


def in_routes(where: str, rules: Sequence[Doc], options: GatewayOptions) -> Iterator[Doc]:
    """The routes of a namespace with all ``rules``. Of two whose rules ask for as many headers the first by name wins:
    so names sort as numbers.
    """
    gateway = options.gateway_at
    spec: Doc = {"parentRefs": [{"name": gateway.name, "namespace": gateway.namespace}]}
    if options.hosts:
        spec["hostnames"] = list(options.hosts)
    for start in range(0, len(rules), MAX_RULES):
        name = Service(where, f"aimesh-{start // MAX_RULES + 1:03}")
        yield manifest(ROUTE_API, "HTTPRoute", name, spec=spec | {"rules": list(rules[start : start + MAX_RULES])})


def owners(snapshot: Snapshot, options: GatewayOptions) -> list[tuple[Policy, list[Doc | None]]]:
    """Policies with the conditions for their models (None: every model), in the order in which they are tried."""
    if len(snapshot.policies) == 1:
        return [(snapshot.policies[0], [None])]
    exact: dict[str, list[Doc | None]] = {}
    globs: list[tuple[Policy, list[Doc | None]]] = []
    for match in snapshot.patterns:
        name = match.policy.name
        if "*" not in match.pattern:
            exact.setdefault(name, []).append(_header(headers.MODEL_NAME, headers.safe_value(match.pattern)))
        elif not match.pattern.strip("*"):
            globs.append((match.policy, [None]))
        elif options.flavor == "gke":
            raise SetupError(
                f"policy {name}: GKE's gateways compare headers exactly, and {match.pattern!r} is a pattern; write "
                "out its models, or make one policy of all"
            )
        else:
            parts = (re.escape(headers.safe_value(part)) for part in match.pattern.split("*"))
            globs.append((match.policy, [_header(headers.MODEL_NAME, ".*".join(parts), regex=True)]))
    return [*((snapshot.by_name[name], models) for name, models in exact.items()), *globs]


def matching(alternatives: Sequence[Conditions]) -> list[Doc]:
    """The field ``matches`` of a rule: whichever headers it asks for, on any path."""
    path = {"path": {"type": "PathPrefix", "value": "/"}}
    return [path | ({"headers": wanted} if wanted else {}) for wanted in alternatives]


def _header(name: str, value: str, *, regex: bool = False) -> Doc:
    return {"type": "RegularExpression" if regex else "Exact", "name": name, "value": value}


class _Rules:
    """Builds the rules of policies, and keeps what their backends are made of."""

    def __init__(self, snapshot: Snapshot, options: GatewayOptions) -> None:
        self._snapshot = snapshot
        self._options = options
        self._backends = {
            target: backends(snapshot.by_name[target.policy], target, options)
            for found in snapshot.targets.values()
            for target in found
        }

    def manifests(self) -> Iterator[Doc]:
        """Of the backends, and grants for those that are in other namespaces than the route."""
        for target, found in self._backends.items():
            where = namespace(self._snapshot.by_name[target.policy], self._options)
            for backend in found:
                yield from backend.manifests
                if backend.at.namespace != where:
                    yield grant(("gateway.networking.k8s.io", "HTTPRoute", where), backend.at)

    def of(self, policy: Policy, models: Sequence[Doc | None]) -> Iterator[Doc]:
        """A rule for each target, and one for what names none."""
        mirrors = self._mirrors(policy)
        # Where pins are allowed a client's version header stays, but its model header does not: only the processor sets
        # that one, so a pin that no processor has checked matches no rule. GKE's gateways fail without a processor.
        pins = any(other.allow_pin for other in self._snapshot.policies) and self._options.flavor != "gke"
        decided = [model or (_header(headers.MODEL_NAME, ".+", regex=True) if pins else None) for model in models]
        for version in policy.answering or (Version(""),):
            for target in self._snapshot.targets[policy.name, version.name]:
                # GKE compares exactly; there no policy has a pattern that is wider than another's model.
                others = models != [None] and self._options.flavor != "gke"
                chosen = _chosen(target, among_others=others)
                for conditions in chosen:
                    filters = [*_removing(unserved_headers(target)), *mirrors]
                    yield from self._rules(policy, decided, conditions, [(target, 1)], filters)
        if shares := weighted_targets(self._snapshot, policy, MAX_WEIGHT):
            removed = unserved_headers(model_only_target(self._snapshot, policy))
            yield from self._rules(policy, models, [], shares, [*_removing(removed), *mirrors])

    def _rules(
        self,
        policy: Policy,
        models: Sequence[Doc | None],
        conditions: Conditions,
        shares: Sequence[tuple[Target, int]],
        filters: Sequence[Doc],
    ) -> Iterator[Doc]:
        weighted = self._weighted(shares)
        if len(weighted) > MAX_BACKENDS:
            raise SetupError(
                f"policy {policy.name}: its requests are spread over {len(weighted)} backends, and a rule of an "
                f"HTTPRoute may have {MAX_BACKENDS}; name a default version, or fewer GPU pools"
            )
        for start in range(0, len(models), MAX_MATCHES):
            found = [[*([model] if model else []), *conditions] for model in models[start : start + MAX_MATCHES]]
            yield {
                "matches": matching(found),
                **({"filters": list(filters)} if filters else {}),
                "backendRefs": [backend.reference(weight) for backend, weight in weighted],
            }

    def _weighted(self, shares: Sequence[tuple[Target, int]]) -> list[tuple[Backend, int]]:
        """A target's weight is divided among its backends by their endpoints. Whole numbers: scaled by all of these."""
        found = []
        for target, weight in shares:
            mine = self._backends[target]
            total = sum(backend.size for backend in mine)
            found += [(backend, weight * backend.size / total) for backend in mine]
        if len(found) == 1:
            return [(found[0][0], 1)]
        scale = MAX_WEIGHT / max(weight for _, weight in found)
        if all(weight == int(weight) and weight <= MAX_WEIGHT for _, weight in found):
            scale = 1
        return [(backend, max(1, round(weight * scale))) for backend, weight in found]

    def _mirrors(self, policy: Policy) -> list[Doc]:
        """A mirror's percentage is divided among its backends by their endpoints."""
        found: list[Doc] = []
        for version in policy.mirrors:
            mine = [b for t in self._snapshot.targets[policy.name, version.name] for b in self._backends[t]]
            total = sum(backend.size for backend in mine)
            for backend in mine:
                share = {"numerator": round(version.mirror * backend.size * 100 / total), "denominator": 10_000}
                found.append(
                    {
                        "type": "RequestMirror",
                        "requestMirror": {"backendRef": backend.reference(), "fraction": share},
                    }
                )
        return found


def _chosen(target: Target, *, among_others: bool) -> Iterator[Conditions]:
    """The headers by which the processor says that it chose ``target``; several alternatives where there are."""
    pool = [_header(headers.GPU_POOL, target.pool)] if target.pool else []
    if target.version:
        yield [_header(headers.MODEL_VERSION, headers.safe_value(target.version)), *pool]
        return
    if among_others:
        # A version that the request itself names is passed on. With it the request has as many headers as the rules of
        # a policy with a wider pattern ask for, and the most headers win.
        yield [_header(headers.MODEL_VERSION, ".+", regex=True), *pool]
    if pool:
        yield pool


def _removing(names: Sequence[str]) -> list[Doc]:
    if not names:
        return []
    return [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": list(names)}}]
