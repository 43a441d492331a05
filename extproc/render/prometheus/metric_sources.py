"""Series of which golden metrics are recorded, for each source: the processor, Istio's proxies or Linkerd's.

Each source counts the same requests under its own names and labels. What is recorded has the same names and labels for
every source, so dashboard and alerts do not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from extproc.exchange.notes import FAILED_AFTER_STATUS
from extproc.policy.snapshot import NONE, Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.render.envoy.envoy_options import is_ip
from extproc.render.prometheus.promql import among, renamed, select
from extproc.render.service_names import label
from extproc.render.source_names import Source

FAILED = 'code=~"5.."'
"""Matches failures of the service: neither a client's error (4xx) nor a client that disconnected (0)."""
BROKEN = f'reason=~"{"|".join(FAILED_AFTER_STATUS)}"'
"""Matches answers that failed after their status, 200 or a gRPC call's. Only the processor counts these, for every
source, and it does not count other failures under these reasons."""

_PROCESSOR_LABELS = (("model", "model"), ("version", "version"), ("gpu_pool", "gpu_pool"))


class Series(msgspec.Struct, frozen=True):
    """Selectors for part of a policy's requests in a source, which counts a request when its answer has ended."""

    labels: dict[str, str]
    """Labels to add to recorded series, which the source's series do not have."""
    kept: tuple[tuple[str, str], ...]
    """Labels to keep: (recorded name, the source's name)."""
    requests: str
    """Selector of a counter."""
    failures: tuple[str, ...]
    """Selectors of counters of failures; no failure is in two of them."""
    durations: str
    """Selector of a histogram's buckets."""
    scale: float = 1
    """The histogram's unit in seconds."""

    def total(self, vector: str, *more: str) -> str:
        """The sum of ``vector`` by the kept labels, and by ``more`` of the source's."""
        for ours, theirs in self.kept:
            vector = renamed(vector, ours, theirs)
        by = ", ".join((*(ours for ours, _ in self.kept), *more))
        return f"sum by ({by}) ({vector})" if by else f"sum({vector})"


def inference(policy: Policy) -> str:
    """Label matcher of a policy's series in the processor's metrics: the label ``model`` is a pattern of the policy."""
    return among("model", policy.models)


def golden_series(snapshot: Snapshot, policy: Policy, source: Source) -> list[Series]:
    """The series of ``source`` for the golden metrics of ``policy``; together they are all of its requests."""
    match source:
        case "extproc":
            return [_extproc(policy)]
        case "istio":
            return [_istio(policy)]
        case "linkerd":
            return list(_linkerd(snapshot, policy))


def processor_series(policy: Policy) -> Series:
    """The processor's own series, the only ones with tokens."""
    return _extproc(policy)


def _extproc(policy: Policy) -> Series:
    models = inference(policy)
    return Series(
        {"policy": policy.name},
        _PROCESSOR_LABELS,
        select("inference_requests_total", models),
        (select("inference_requests_total", models, FAILED), select("inference_errors_total", models, BROKEN)),
        select("inference_request_duration_seconds_bucket", models),
    )


def _istio(policy: Policy) -> Series:
    """By the tags of ``render.istio.telemetry_api``, whose values equal the processor's labels.

    ``reporter="source"``: the client's proxy, which also counts requests that reached no model server, and servers
    outside the mesh. Both reporters together would count requests twice.
    """
    who = 'reporter="source"', among("model_name", policy.models)
    requests = "istio_requests_total"
    return Series(
        {"policy": policy.name},
        (("model", "model_name"), ("version", "model_version"), ("gpu_pool", "gpu_pool")),
        select(requests, *who),
        (
            select(requests, *who, 'response_code=~"5.."'),
            select("inference_errors_total", inference(policy), BROKEN),
        ),
        select("istio_request_duration_milliseconds_bucket", *who),
        0.001,
    )


def _linkerd(snapshot: Snapshot, policy: Policy) -> Iterator[Series]:
    """By the Service of each version and pool, as Linkerd's outbound proxy counts its responses.

    The proxy does not know models: there is a label ``model`` only where the policy has a single one.
    """
    for version in policy.answering or (Version(""),):
        for target in snapshot.targets[policy.name, version.name]:
            yield _backend(policy, target, backends(snapshot, policy, target))


class Service(NamedTuple):
    """A Service's port by the labels of Linkerd's metrics; ``namespace`` is empty where the policy names none."""

    namespace: str
    name: str
    port: int


def _backend(policy: Policy, target: Target, services: Sequence[Service]) -> Series:
    apex, namespace = _apex(policy)
    where = {"parent_kind": "Service", "parent_name": apex} | ({"parent_namespace": namespace} if namespace else {})
    parts = {
        "backend_name": [service.name for service in services],
        "backend_namespace": [service.namespace for service in services],
        "backend_port": [str(service.port) for service in services],
    }
    names = [among(label, list(dict.fromkeys(values))) for label, values in parts.items() if all(values)]
    answers = "outbound_http_route_backend_response_statuses_total"
    place = {"version": target.version or NONE, "gpu_pool": target.pool or NONE}
    only = {"model": policy.models[0]} if len(policy.models) == 1 else {}
    # For a policy without versions, the processor's `version` is the one that the request named.
    own = place if target.version else {"gpu_pool": place["gpu_pool"]}
    return Series(
        {"policy": policy.name, **only, **place},
        (),
        select(answers, *names, **where),
        (
            select(answers, *names, 'http_status=~"5.."', **where),
            # Without a status there was no response. An error after one: the client disconnected, or BROKEN.
            select(answers, *names, 'http_status=""', 'error!=""', **where),
            select("inference_errors_total", inference(policy), BROKEN, **own),
        ),
        select("outbound_http_route_backend_response_duration_seconds_bucket", *names, **where),
    )


def backends(snapshot: Snapshot, policy: Policy, target: Target) -> list[Service]:
    """The Services to which linkerd-adapter's routes for ``target`` lead: its own, or the policy's."""
    apex, namespace = where = _apex(policy)
    found: list[Service] = []
    alone = bool(target.version) and len(snapshot.targets[policy.name, target.version]) == 1
    shared = policy.name if sum(_apex(other) == where for other in snapshot.policies) > 1 else ""
    parts = (apex, shared, target.version, "" if alone else target.pool)
    if not (target.version or target.pool) and target.endpoints == (f"{policy.host}:{policy.port}",):
        found.append(Service(namespace, apex, policy.port))
    else:
        found += _listed(policy, target.endpoints, namespace, label(*parts))
    if target.grpc_endpoints:
        found += _listed(policy, target.grpc_endpoints, namespace, label(*parts, "grpc"))
    return list(dict.fromkeys(found))


def _listed(policy: Policy, endpoints: Sequence[str], namespace: str, own: str) -> list[Service]:
    """The Services that ``endpoints`` name; ``own``: name of the one for all others."""
    ends = [(host, int(port)) for host, _, port in (endpoint.rpartition(":") for endpoint in endpoints)]
    named = [
        _named(host, port, namespace) for host, port in ends if host != policy.host and not is_ip(host.strip("[]"))
    ]
    return named if len(named) == len(ends) else [*named, Service(namespace, own, policy.port)]


def _apex(policy: Policy) -> tuple[str, str]:
    """Name and namespace of the Service that is the policy's host."""
    apex, _, rest = policy.host.partition(".")
    return apex, rest.partition(".")[0] or policy.namespace


def _named(host: str, port: int, namespace: str) -> Service:
    name, _, rest = host.partition(".")
    return Service(rest.partition(".")[0] or namespace, name, port)
