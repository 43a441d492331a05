"""Checks of documents against each other: names, models, metrics, and GPU pools that versions can't use.

Where a document has errors of its own, checks that would only repeat them are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from extproc.errors import Problem
from extproc.policy.custom_metric import CustomMetric
from extproc.policy.gpu import known_architecture, satisfies, shortfall
from extproc.policy.load_balancer import CONSISTENT_HASH
from extproc.policy.locality import FARTHEST, distance
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.policyfile import picking
from extproc.policyfile.fields import Field, suggestion
from extproc.policyfile.kinds import Document
from extproc.telemetry.custom_series import samples
from extproc.yamldoc import Scalar, quoted

Policies = Sequence[Document[Policy]]
Pools = Sequence[Document[GpuPool]]


def check(policies: Policies, pools: Pools) -> None:
    """Notes every problem between ``policies`` and ``pools``."""
    _check_names("policy", [(d.value.name, d.name_field) for d in policies])
    _check_names("pool", [(d.value.name, d.name_field) for d in pools])
    _check_models(policies)
    _check_of_all(policies, "onUnreadable", lambda policy: policy.reject_unreadable)
    _check_of_all(policies, "onUnowned", lambda policy: policy.reject_unowned)
    _check_unowned(policies)
    _check_metrics(policies)
    _check_pool_names(policies, pools)
    _check_fallbacks(policies)
    for document in policies:
        _check_gpus(document, pools)
    _check_servers(policies, pools)
    _check_use(policies, pools)


def check_locality(locality: str, pools: Sequence[GpuPool]) -> list[Problem]:
    """The warning that no pool is known to be in the region of proxies at ``locality``, so that none is nearer."""
    places = list(dict.fromkeys(pool.locality for pool in pools if pool.locality))
    if not locality or any(distance(locality, place) < FARTHEST for place in places):
        return []
    where = f"no GPU pool is in the region {locality.partition('/')[0]}" if places else "no GPU pool has a locality"
    remedy = suggestion(locality, places) if places else "write where pools are (locality), or leave --locality out"
    return [Problem(f"--locality {locality}", 0, 0, "", f"{where}: none is nearer than others", remedy, warning=True)]


def _check_names(what: str, named: Sequence[tuple[str, Field]]) -> None:
    first: dict[str, Field] = {}
    for name, field in named:
        if name and name in first:
            message = f"the {what} {name} is declared already, at {first[name].place}"
            field.error(message, "choose another name (namespaces do not tell them apart), or remove one of the two")
        first.setdefault(name, field)


def _check_models(policies: Policies) -> None:
    """A pattern in two policies: only one could own it."""
    first: dict[str, tuple[str, Field]] = {}
    for document in policies:
        spec = document.field.at("spec")
        written = {f.node.text: f for f in spec.at("models").children if isinstance(f.node, Scalar)}
        for model in document.value.models:
            field = written.get(model, spec.at("models"))
            if model in first:
                owner, place = first[model]
                default = "" if spec.has("models") else " (what a policy without models owns)"
                message = f'the models "{model}"{default} are the policy {owner}\'s already, at {place.place}'
                field.error(message, "give each policy models of its own")
            first.setdefault(model, (document.value.name, field))


def _check_of_all(policies: Policies, name: str, value: Callable[[Policy], bool]) -> None:
    """A field ``name`` that holds for requests whose policy is unknown, so that all policies must agree."""
    stating = [d for d in policies if d.field.at("spec").has(name)]
    for document in stating[1:]:
        if value(document.value) != value(stating[0].value):
            place = stating[0].field.at("spec", name).place
            message = (
                f"the policy {stating[0].value.name} has another, at {place}, and whose such a request is, is not known"
            )
            remedy = "write the same in both, or in one of them only: it holds for all"
            document.field.at("spec", name).error(message, remedy)


def _check_unowned(policies: Policies) -> None:
    """``onUnowned: reject`` where a policy owns every model."""
    owner = next((d.value for d in policies if any(not model.strip("*") for model in d.value.models)), None)
    for document in policies:
        if owner is not None and document.value.reject_unowned:
            message = f"nothing is unowned: the policy {owner.name} owns every model"
            document.field.at("spec", "onUnowned").warn(message, f"give {owner.name} models by name, or remove it")


def _check_metrics(policies: Policies) -> None:
    """A metric of several policies must have the same definition in each, and samples of no other's name."""
    first: dict[str, tuple[CustomMetric, Field]] = {}
    for document in policies:
        metrics = document.field.at("spec", "observability", "customMetrics")
        if not metrics.clean:
            continue
        for i, metric in enumerate(document.value.custom_metrics):
            known, place = first.setdefault(metric.name, (metric, metrics.at(i)))
            if known != metric:
                message = f"the metric {metric.name} is another one at {place.place}"
                metrics.at(i).error(message, "make the two the same, or choose another name")
            for name, (other, other_field) in first.items():
                if name != metric.name and samples(name, other.type) & samples(metric.name, metric.type):
                    message = f"Prometheus would mix up {metric.name} and {name}, at {other_field.place}"
                    remedy = "choose another name: a counter ends in _total, a histogram adds _sum, _count, _bucket"
                    metrics.at(i).error(message, remedy)


def _check_pool_names(policies: Policies, pools: Pools) -> None:
    known = {d.value.name: d.value for d in pools}
    if "" in known:
        return
    for document in policies:
        for version in document.field.at("spec", "versions").children:
            for field in version.at("gpuPools").children:
                if not isinstance(field.node, Scalar):
                    continue
                if field.node.text not in known:
                    remedy = suggestion(field.node.text, known) if known else "declare it: a document of kind GpuPool"
                    field.error(f"no pool named {quoted(field.node.text)} is declared", remedy)
                elif not (pool := known[field.node.text]).is_open_to(document.value.namespace):
                    message = f"the pool {pool.name} is of the namespace {pool.namespace}, and is not open to this one"
                    remedy = f"add {document.value.namespace} to its spec.allowedNamespaces, or name another pool"
                    field.error(message, remedy)


def _check_fallbacks(policies: Policies) -> None:
    """Policies that are to answer in others' place: what they are asked for then is their first model."""
    known = {d.value.name: d.value for d in policies}
    for document in policies:
        breaker = document.value.breaker
        name = breaker.fallback_policy if breaker else ""
        field = document.field.at("spec", "trafficManagement", "circuitBreaker", "fallback", "policy")
        if name == document.value.name and name:
            field.error("is the policy itself", "name another one, or a version: fallback: {version: v1}")
        elif name and name not in known:
            field.error(f"no policy named {quoted(name)} is declared", suggestion(name, known))
        elif name and "*" in "".join(known[name].models[:1]):
            message = (
                f"which model the policy {name} is to be asked for is not known: its first is {known[name].models[0]}"
            )
            field.error(message, "give it a model by name, first of all")


def _check_gpus(document: Document[Policy], pools: Pools) -> None:
    """The GPU requirements of a policy and its versions against the declared pools."""
    spec = document.field.at("spec")
    if not spec.at("gpuRequirements").clean or not all(pool.field.clean for pool in pools):
        return
    policy, versions = document.value, spec.at("versions")
    pools = [pool for pool in pools if pool.value.is_open_to(policy.namespace)]
    fitting = [p.value for p in pools if policy.gpu and satisfies(p.value.gpu, policy.gpu)]
    _check_architecture(policy, spec, fitting)
    if versions.clean:
        by_name = {p.value.name: p.value for p in pools}
        for i, version in enumerate(policy.versions):
            for k, name in enumerate(version.gpu_pools or ()):
                _check_named(policy, version, by_name[name], versions.at(i, "gpuPools", k))
        _check_default(policy, spec, pools, fitting)


def _check_architecture(policy: Policy, spec: Field, fitting: Sequence[GpuPool]) -> None:
    required = policy.gpu.architecture if policy.gpu else ""
    if required and not known_architecture(required) and not fitting:
        message = f"{quoted(required)} cannot mean any GPU that is known"
        remedy = "give a product (a100), a family (ampere) or a compute capability (8.0, or 8.0+ for at least)"
        spec.at("gpuRequirements", "architecture").warn(message, remedy)


def _check_named(policy: Policy, version: Version, pool: GpuPool, field: Field) -> None:
    if policy.gpu and (why := shortfall(pool.gpu, policy.gpu)):
        remedy = "name another pool, or change spec.gpuRequirements"
        field.error(f"the pool {pool.name} does not meet gpuRequirements: it {why}", remedy)
    elif pool.node_selector:
        pass  # endpoints are those of pods, which come and go
    elif version.endpoints and pool.endpoints and not set(version.endpoints) & set(pool.endpoints):
        message = f"the version {version.name} has none of the endpoints of the pool {pool.name}"
        field.error(message, f"give the version one of {', '.join(pool.endpoints)}, or leave its endpoints out")


def _check_default(policy: Policy, spec: Field, pools: Pools, fitting: Sequence[GpuPool]) -> None:
    """Whether versions that name no pools, and so can use every fitting one, have any."""
    without_pools = [(i, v) for i, v in enumerate(policy.versions or (Version(""),)) if v.gpu_pools is None]
    if policy.gpu is None or not pools or not without_pools:
        return
    outcome = "gets a 503" if policy.reject_without_gpu else "goes on without a GPU pool"
    if not fitting:
        why = "; ".join(f"{p.value.name} {shortfall(p.value.gpu, policy.gpu)}" for p in pools)
        remedy = "change what is required, or declare a pool that meets it"
        spec.at("gpuRequirements").warn(f"no pool meets it, so every request {outcome}: {why}", remedy)
        return
    replaced = policy.reject_without_gpu and policy.fails_over and len(policy.answering) > 1
    of_version = "others answer its requests, or they get a 503" if replaced else f"every request {outcome}"
    for i, version in without_pools:
        consequence = "it gets no copies" if version.mirror else of_version
        endpoints = set(version.endpoints)
        if endpoints and all(p.endpoints and not endpoints & set(p.endpoints) for p in fitting):
            names = ", ".join(p.name for p in fitting)
            message = f"none of them is in a pool that meets gpuRequirements ({names}), so {consequence}"
            remedy = "list them in a pool, or leave them out of the version"
            spec.at("versions", i, "endpoints").warn(message, remedy)


def _check_servers(policies: Policies, pools: Pools) -> None:
    """What a version and a pool list must go together. A mirror's servers must have one name, since Envoy writes one
    host into all copies.
    """
    if not all(d.field.clean for d in policies) or not all(d.field.clean for d in pools):
        return
    snapshot = Snapshot(tuple(d.value for d in policies), tuple(d.value for d in pools))
    for document in policies:
        _check_hashing(document, snapshot)
        answering = (snapshot.targets[document.value.name, v.name] for v in document.value.answering or (Version(""),))
        picking.check(document.field.at("spec"), document.value, chain.from_iterable(answering), snapshot.pool_by_name)
        for i, version in enumerate(document.value.versions):
            field = document.field.at("spec", "versions", i)
            for target in snapshot.targets[document.value.name, version.name]:
                if pool := snapshot.pool_by_name.get(target.pool):
                    _check_listed(version, pool, target, field)
                names = max((target.server_names(grpc=grpc) for grpc in (False, True)), key=len)
                if version.mirror and len(names) > 1:
                    message = f"the servers of a mirror have one name, and these {len(names)}"
                    field.error(message, "give tls.serverName, or make a mirror of each")


def _check_hashing(document: Document[Policy], snapshot: Snapshot) -> None:
    """A consistent hash keeps users on a server only of a version and pool on which they stay."""
    policy = document.value
    targets = [t for v in policy.answering or (Version(""),) for t in snapshot.targets[policy.name, v.name]]
    hashing = next((t.load_balancer for t in targets if t.load_balancer.by == CONSISTENT_HASH), None)
    if hashing and policy.sticky is None and len(targets) > 1:
        message = f"each request is drawn among {len(targets)} versions and pools before {hashing.header} is hashed"
        document.name_field.warn(message, f"write sticky: {{header: {hashing.header}}}, and users stay on one server")


def _check_listed(version: Version, pool: GpuPool, target: Target, field: Field) -> None:
    """``target``: the version on the pool. A request and a gRPC call that get the same version and pool must find
    servers there, and both by TLS or neither.
    """
    mine, theirs = (
        [name for name, found in (("endpoints", of.endpoints), ("grpcEndpoints", of.grpc_endpoints)) if found]
        for of in (version, pool)
    )
    if not mine or not theirs:
        return
    where = field.at(mine[0])
    if (version.upstream.tls is None) != (pool.upstream.tls is None):
        message = f"the pool {pool.name} lists the same, and just one of the two as https://"
        where.error(message, "write it in both, or leave the endpoints out of one")
    elif mine != theirs:
        message = f"the version {version.name} lists {' and '.join(mine)}, and the pool {pool.name} "
        message += f"{' and '.join(theirs)}: which servers are of both is not known for the other"
        where.error(message, "list endpoints and grpcEndpoints in both, or leave the servers out of one")
    elif version.grpc_endpoints and not target.grpc_endpoints:
        message = f"the version {version.name} has none of the grpcEndpoints of the pool {pool.name}"
        field.at("grpcEndpoints").error(message, f"give the version one of {', '.join(pool.grpc_endpoints)}")


def _check_use(policies: Policies, pools: Pools) -> None:
    """Pools that no policy uses, if no other problem explains that."""
    if any(d.field.problems for d in policies) or any(d.field.problems for d in pools):
        return
    targets = Snapshot(tuple(d.value for d in policies), tuple(d.value for d in pools)).targets
    used = {target.pool for of_version in targets.values() for target in of_version}
    for document in pools:
        if document.value.name not in used:
            remedy = "name it in a version's gpuPools, or give a policy gpuRequirements ({} takes any pool)"
            document.name_field.warn(f"no policy uses the pool {document.value.name}", remedy)
