"""What policies become on Linkerd: apex Services, and the Services behind them. Pure.

A policy's ``host`` is its *apex*: the gateway sends all of its requests there, and HTTPRoutes whose parent it is send
them on by our headers. Each place where a version is served is a Service of its own: a *backend*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from extproc.errors import SetupError
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.policy.upstream import PLAIN
from extproc.render.istio.istio_options import POOL_LABEL, VERSION_LABEL  # the same pods on either mesh
from linkerd_adapter import names
from linkerd_adapter.names import Service

MAX_BACKENDS = 16
"""Of one rule, by the CRD."""


class UnrenderableError(SetupError):
    """Policies that Linkerd can't carry out; the message has a line for each reason, and what to do."""


class Pods(msgspec.Struct, frozen=True):
    """The pods that have all of these labels."""

    labels: tuple[tuple[str, str], ...]


class Addresses(msgspec.Struct, frozen=True):
    """IP addresses and ports, which no selector finds; none where there is no server at present."""

    endpoints: tuple[tuple[str, int], ...]


class Backend(msgspec.Struct, frozen=True):
    """A Service that serves one target of a policy, or a part of it."""

    service: Service
    port: int
    size: int = 1
    """How many endpoints the policy names for it."""
    behind: Pods | Addresses | None = None
    """None: a Service that exists without us."""


class Place(msgspec.Struct, frozen=True):
    """A target of a policy, and the Services that serve it."""

    target: Target
    backends: tuple[Backend, ...]
    grpc_backends: tuple[Backend, ...] = ()
    """Those that get the calls of gRPC; empty: ``backends``."""

    @property
    def all_backends(self) -> tuple[Backend, ...]:
        """Both."""
        return (*self.backends, *self.grpc_backends)

    def serving(self, *, grpc: bool) -> tuple[Backend, ...]:
        """Those that get the requests; ``grpc``: the calls of gRPC."""
        return self.grpc_backends if grpc and self.grpc_backends else self.backends


class Apex(msgspec.Struct, frozen=True):
    """A Service that the gateway calls, on one port."""

    service: Service
    port: int
    domain: str
    policies: tuple[Policy, ...]
    """In their order."""
    labels: tuple[tuple[str, str], ...]
    """Of its pods; empty: the policies do not say."""

    @property
    def address(self) -> str:
        """What the gateway's Envoy dials."""
        return f"{self.service.host(self.domain)}:{self.port}"


class Plan(msgspec.Struct, frozen=True):
    """All of it. ``places``: of every policy by name, each version that answers and each mirror."""

    apexes: tuple[Apex, ...]
    places: dict[str, tuple[Place, ...]]

    def apex_of(self, policy: Policy) -> Apex:
        """Where the gateway sends the policy's requests."""
        return next(apex for apex in self.apexes if policy in apex.policies)

    def declares(self, apex: Apex) -> bool:
        """Whether ``render`` writes the Service. One whose pods have unknown labels is taken to exist."""
        places = (place for policy in apex.policies for place in self.places[policy.name])
        return bool(apex.labels) or all(b.service != apex.service for place in places for b in place.all_backends)


def make(snapshot: Snapshot, namespace: str) -> Plan:
    """``namespace``: of policies that name none, in metadata or host. Raises ``UnrenderableError`` with all reasons."""
    problems: list[str] = []
    apexes = tuple(_apexes(snapshot, namespace, problems))
    places: dict[str, tuple[Place, ...]] = {}
    for apex in apexes:
        for policy in apex.policies:
            places[policy.name] = tuple(_places(snapshot, apex, policy, problems))
    if problems:
        raise UnrenderableError("\n".join(problems))
    return Plan(apexes, places)


def namespaces(snapshot: Snapshot, default: str) -> set[str]:
    """The namespaces of all apexes."""
    found = (names.service_of_host(p.host, p.namespace or default) for p in snapshot.policies)
    return {of[0].namespace for of in found if of}


def _apexes(snapshot: Snapshot, namespace: str, problems: list[str]) -> Iterator[Apex]:
    shared: dict[tuple[Service, int], list[tuple[Policy, str]]] = {}
    for policy in snapshot.policies:
        found = names.service_of_host(policy.host, policy.namespace or namespace)
        if found is None:
            what = "is no Service of a cluster, and Linkerd routes requests to Services only"
            problems.append(f"policy {policy.name}: its host {policy.host} {what}; name the Service: chat.ai")
            continue
        shared.setdefault((found[0], policy.port), []).append((policy, found[1]))
    for (service, port), owners in shared.items():
        ports = sorted(other for same, other in shared if same == service)
        if len(ports) > 1:
            who = " and ".join(policy.name for policy, _ in owners)
            problems.append(f"policies {who}: the host {service} has the ports {ports}; a Service is rendered for one")
            continue
        selectors = {policy.selector for policy, _ in owners if policy.selector}
        if len(selectors) > 1:
            who = " and ".join(policy.name for policy, _ in owners)
            problems.append(
                f"policies {who}: the same host {service}:{port}, but other selectors; give each a host of its own"
            )
            continue
        policies = tuple(policy for policy, _ in owners)
        yield Apex(service, port, owners[0][1], policies, next(iter(selectors), ()))


def _places(snapshot: Snapshot, apex: Apex, policy: Policy, problems: list[str]) -> Iterator[Place]:
    for version in policy.versions or (Version(""),):
        targets = snapshot.targets[policy.name, version.name]
        for target in targets:
            alone = len(targets) == 1
            found = tuple(_backends(snapshot, apex, policy, target, problems, alone=alone))
            of_grpc = tuple(_grpc_backends(apex, policy, target, problems, alone=alone))
            yield Place(target, found, of_grpc)


def _backends(
    snapshot: Snapshot, apex: Apex, policy: Policy, target: Target, problems: list[str], *, alone: bool
) -> Iterator[Backend]:
    """``alone``: the version has no other target, so that its name says enough."""
    who = _who(policy, target)
    own = _own_service(apex, policy, target, alone=alone)
    if target.upstream != PLAIN:
        what = "Linkerd's proxies speak no TLS but their own, and its routes neither change paths nor add keys"
        remedy = "remove https://, pathRewrite and credentials, or use a gateway of `extproc render envoy`"
        problems.append(f"{who}: {what}; {remedy}")
        return
    if not _named(snapshot, policy, target):
        if not (target.version or target.pool):
            yield Backend(apex.service, apex.port)
        elif not apex.labels:
            remedy = "give spec.selector.matchLabels, or endpoints"
            problems.append(f"{who}: nothing tells which pods serve it; {remedy}")
        else:
            more = ((VERSION_LABEL, target.version), (POOL_LABEL, target.pool))
            yield Backend(own, apex.port, 1, Pods((*apex.labels, *(pair for pair in more if pair[1]))))
        return
    if not target.present(grpc=False):
        yield Backend(own, apex.port, 1, Addresses(()))
        return
    yield from _named_backends(apex, target.endpoints, own, who, problems)


def _grpc_backends(
    apex: Apex, policy: Policy, target: Target, problems: list[str], *, alone: bool
) -> Iterator[Backend]:
    if target.upstream != PLAIN:
        return
    who = _who(policy, target)
    for endpoint in target.grpc_endpoints:
        if _service(endpoint.rpartition(":")[0], apex.service.namespace) == apex.service:
            remedy = f"name Services that have only its pods, such as {apex.service.name}-{target.version or 'grpc'}"
            problems.append(f"{who}: {endpoint} is {apex.service}, which has the pods of every version; {remedy}")
    own = _own_service(apex, policy, target, "grpc", alone=alone)
    yield from _named_backends(apex, target.grpc_endpoints, own, who, problems)


def _who(policy: Policy, target: Target) -> str:
    return f"policy {policy.name}" + (f", version {target.version}" if target.version else "")


def _own_service(apex: Apex, policy: Policy, target: Target, *more: str, alone: bool) -> Service:
    shared = policy.name if len(apex.policies) > 1 else ""
    pool = "" if alone and target.version else target.pool
    return Service(apex.service.namespace, names.label(apex.service.name, shared, target.version, pool, *more))


def _named_backends(
    apex: Apex, endpoints: Sequence[str], own: Service, who: str, problems: list[str]
) -> Iterator[Backend]:
    """Services that ``endpoints`` name, and ``own`` for the addresses among them."""
    numbers: list[tuple[str, int]] = []
    services: list[tuple[Service, int]] = []
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if (number := names.parse_address(host)) is not None:
            if number.is_loopback or number.is_unspecified:
                problems.append(f"{who}: no pod reaches {endpoint}; leave endpoints out, or name those in the cluster")
            numbers.append((str(number), int(port)))
        elif (found := _service(host, apex.service.namespace)) is not None:
            services.append((found, int(port)))
        else:
            remedy = "give a Service (name.namespace.svc) or IP addresses"
            problems.append(
                f"{who}: {endpoint} is outside the cluster, where no HTTPRoute of Linkerd's leads; {remedy}"
            )
    yield from (Backend(found, port) for found, port in services)
    if numbers:
        yield Backend(own, apex.port, len(numbers), Addresses(tuple(numbers)))


def _named(snapshot: Snapshot, policy: Policy, target: Target) -> bool:
    """Whether the version or the pool names endpoints; else those of the policy's host stand for them."""
    version = next((v for v in policy.versions if v.name == target.version), Version(""))
    pool = snapshot.pool_by_name.get(target.pool)
    return bool(version.endpoints or (pool and pool.endpoints))


def _service(host: str, namespace: str) -> Service | None:
    """The Service that an endpoint means. Two labels may as well be a name of the Internet, and are none."""
    labels = host.rstrip(".").split(".")
    if host == "localhost" or len(labels) == 2:
        return None
    found = names.service_of_host(host, namespace)
    return found[0] if found else None
