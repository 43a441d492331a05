"""The effective policy as plain data: the document of ``/config``.

Fields have their names in policy files, with defaults filled in; ``targets`` are those of the snapshot.
"""

from __future__ import annotations

from typing import Any

from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.custom_metric import GPU_UTILIZATION, CustomMetric, Source
from extproc.policy.load_balancer import CONSISTENT_HASH, LoadBalancer
from extproc.policy.picking import EndpointPages, Picking
from extproc.policy.rollout_plan import RolloutPlan, RolloutState
from extproc.policy.snapshot import GpuPool, Objective, Policy, Slo, Snapshot, Version
from extproc.policy.upstream import Upstream


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as data for JSON, its generation included."""
    return {
        "generation": snapshot.generation,
        "locality": snapshot.locality,
        "policies": [_policy(policy, snapshot) for policy in snapshot.policies],
        "pools": [_pool(pool) for pool in snapshot.pools],
        "models": [{"pattern": match.pattern, "policy": match.policy.name} for match in snapshot.patterns],
    }


def _policy(policy: Policy, snapshot: Snapshot) -> dict[str, Any]:
    sticky, gpu, budget = policy.sticky, policy.gpu, policy.retry_budget
    return {
        "name": policy.name,
        "namespace": policy.namespace,
        "selector": dict(policy.selector),
        "host": policy.host,
        "port": policy.port,
        "pathPrefixes": list(policy.path_prefixes),
        "models": list(policy.models),
        "versions": [_version(version, policy) for version in policy.versions],
        "default": policy.default or None,
        "sticky": sticky and {"header": sticky.header, "cookie": sticky.cookie, "body": _pointer(sticky.body)},
        "allowPin": policy.allow_pin,
        "onUnreadable": "reject" if policy.reject_unreadable else "pass",
        "onUnowned": "reject" if policy.reject_unowned else "pass",
        "onVersionDown": "failover" if policy.fails_over else "fail",
        "onNoGpu": "reject" if policy.reject_without_gpu else "ignore",
        "gpuRequirements": gpu and {"architecture": gpu.architecture, "minMemory": f"{gpu.memory}Mi"},
        "trafficManagement": {
            "timeout": policy.timeout,
            "retryBudget": budget and {"retryRatio": budget.ratio, "minRetriesPerSecond": budget.min_per_second},
            "circuitBreaker": policy.breaker and _breaker(policy.breaker),
        },
        "observability": {
            "customMetrics": [_metric(metric) for metric in policy.custom_metrics],
            "slo": policy.slo and _slo(policy.slo),
            "observe": {None: "adaptive", 1.0: "full"}.get(policy.sampling),
            "sampling": policy.sampling,
        },
        "rollout": policy.rollout and _rollout(policy.rollout, policy.rollout_state),
        "weightsFrom": policy.weights_from
        and {
            "kind": policy.weights_from.kind,
            "name": policy.weights_from.name,
            "backends": dict(policy.weights_from.backends),
        },
        "limits": {"maxBody": policy.body_limit},
        "loadBalancer": _load_balancer(policy.load_balancer),
        "picking": policy.picking and _picking(policy.picking),
        "targets": [
            {
                "version": target.version,
                "pool": target.pool,
                "endpoints": list(target.endpoints),
                "grpcEndpoints": list(target.grpc_endpoints),
                **_upstream(target.upstream),
                "loadBalancer": _load_balancer(target.load_balancer),
            }
            for version in policy.versions or (Version(""),)
            for target in snapshot.targets[policy.name, version.name]
        ],
    }


def _breaker(breaker: CircuitBreaker) -> dict[str, Any]:
    fallback = (
        {"version": breaker.fallback_version} if breaker.fallback_version else {"policy": breaker.fallback_policy}
    )
    return {
        "adaptive": True,
        "minConcurrency": breaker.min_concurrency,
        "maxConcurrency": breaker.max_concurrency,
        "fallback": fallback if any(fallback.values()) else None,
    }


def _picking(picking: Picking) -> dict[str, Any]:
    bounds = picking.saturation
    return {
        "by": picking.by,
        "blockBytes": picking.block_bytes,
        "indexBlocks": picking.index_blocks,
        "adapterWeight": picking.adapter_weight,
        "saturation": {"waiting": bounds.waiting, "cache": bounds.cache, "stale": bounds.stale},
        "maxQueue": picking.max_queue,
        "priority": picking.priority,
        "objectives": dict(picking.objectives),
        "metrics": {name: value for name, value in _pages(picking.metrics).items() if value},
    }


def _pages(pages: EndpointPages) -> dict[str, Any]:
    pods = {pod.endpoint: {"pod": pod.pod, "hostIP": pod.host_ip} for pod in pages.pods}
    own = {"type": pages.kind, "port": pages.port, "path": pages.path, "interval": pages.interval}
    return {**own, "gpuPort": pages.gpu_port, "pods": pods}


def _metric(metric: CustomMetric) -> dict[str, Any]:
    fields = {"name": metric.name, "type": metric.type, "labels": list(metric.labels), "source": _source(metric.source)}
    match metric.type:
        case "GAUGE" if metric.source != GPU_UTILIZATION:
            return fields | {"per": _source(metric.per), "window": metric.window}
        case "HISTOGRAM":
            return fields | {"buckets": list(metric.buckets)}
        case _:
            return fields


def _source(source: Source) -> str | dict[str, str]:
    if source.header:
        return {"header": source.header}
    return {"body": _pointer(source.body)} if source.body else source.word


def _slo(slo: Slo) -> dict[str, Any]:
    return {
        "availability": slo.availability,
        "timeToFirstToken": slo.first_token and _objective(slo.first_token),
        "duration": slo.duration and _objective(slo.duration),
        "window": f"{slo.days}d",
    }


def _objective(objective: Objective) -> dict[str, float]:
    return {"under": objective.under, "target": objective.target}


def _rollout(plan: RolloutPlan, state: RolloutState | None) -> dict[str, Any]:
    """The plan, and where it stands: the versions' weights are those in force."""
    return {
        "to": plan.to,
        "steps": list(plan.steps),
        "interval": plan.interval,
        "minRequests": plan.min_requests,
        "guards": [guard.label for guard in plan.guards],
        "onFailure": "rollback" if plan.rolls_back else "pause",
        "prometheus": plan.prometheus,
        "phase": state.phase if state else None,
        "percent": state.percent if state else 0,
    }


def _version(version: Version, policy: Policy) -> dict[str, Any]:
    total = sum(v.weight for v in policy.versions)
    return {
        "name": version.name,
        "weight": version.weight,
        "share": version.weight / total if total else 0.0,
        "endpoints": list(version.endpoints),
        "grpcEndpoints": list(version.grpc_endpoints),
        **_upstream(version.upstream),
        "modelRewrite": version.model_rewrite,
        "match": [
            {"headers": {name: value.decode(errors="replace") for name, value in match.headers}}
            for match in version.match
        ],
        "mirror": version.mirror or None,
        "gpuPools": None if version.gpu_pools is None else list(version.gpu_pools),
        "loadBalancer": version.load_balancer and _load_balancer(version.load_balancer),
        "inferencePool": version.inference_pool or None,
    }


def _pool(pool: GpuPool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "product": pool.gpu.product,
        "architecture": pool.gpu.architecture,
        "family": pool.gpu.family,
        "capability": pool.gpu.capability,
        "memory": f"{pool.gpu.memory}Mi",
        "locality": pool.locality,
        "cluster": pool.cluster,
        "endpoints": list(pool.endpoints),
        "grpcEndpoints": list(pool.grpc_endpoints),
        **_upstream(pool.upstream),
        "nodeSelector": dict(pool.node_selector),
        "namespace": pool.namespace,
        "allowedNamespaces": list(pool.allowed_namespaces),
        "loadBalancer": pool.load_balancer and _load_balancer(pool.load_balancer),
        "metrics": (
            pool.metrics_type
            and {"type": pool.metrics_type, "url": pool.metrics_url or None, "gpuUrl": pool.gpu_metrics_url or None}
        )
        or None,
    }


def _upstream(upstream: Upstream) -> dict[str, Any]:
    tls, path, key = upstream.tls, upstream.path_rewrite, upstream.credentials
    return {
        "tls": tls
        and {
            "caFile": tls.ca_file,
            "certFile": tls.cert_file,
            "keyFile": tls.key_file,
            "serverName": tls.server_name,
            "insecureSkipVerify": not tls.verify,
        },
        "pathRewrite": path and {"prefix": path.prefix, "replacement": path.replacement},
        "credentials": key and {"header": key.header, "prefix": key.prefix, "file": key.file},
    }


def _load_balancer(balancer: LoadBalancer) -> str | dict[str, Any]:
    return {CONSISTENT_HASH: {"header": balancer.header}} if balancer.header else balancer.by


def _pointer(tokens: tuple[str, ...]) -> str:
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)
