"""Where golden metrics come from: our processor, Istio's or Linkerd's proxies.

Each source counts the same requests in its own terms. Here are the terms; what is recorded from them has the same names
and labels whatever the source, so dashboard and alerts do not care which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import msgspec

from extproc.policy.snapshot import NONE, Policy, Snapshot, Target, Version
from extproc.render.envoy.envoy_options import is_ip
from extproc.render.prometheus.promql import among, renamed, select
from extproc.render.service_names import label

Source: TypeAlias = Literal["extproc", "istio", "linkerd"]
SOURCES: tuple[Source, ...] = get_args(Source)

FAILED = 'code=~"5.."'
"""What fails is the service's failure: not what a client asks wrongly (4xx), nor a client that leaves (0)."""
BROKEN = 'reason=~"error_in_stream|cut_short"'
"""Answers that failed though their status is 200, gRPC calls among them. Whoever counts the others, these the processor
counts, and none of the others."""

_PROCESSOR_LABELS = (("model", "model"), ("version", "version"), ("gpu_pool", "gpu_pool"))


class Series(msgspec.Struct, frozen=True):
    """Part of a policy's requests as a source counts them, when their answers have ended."""

    labels: dict[str, str]
    """For what is recorded: what the series do not tell themselves."""
    kept: tuple[tuple[str, str], ...]
    """(our name, theirs) of labels that are kept."""
    requests: str
    """Selects a counter."""
    failures: tuple[str, ...]
    """Select counters of those that failed; none has what another has."""
    durations: str
    """Selects the buckets of a histogram."""
    scale: float = 1
    """Seconds in a unit of that histogram."""

    def total(self, vector: str, *more: str) -> str:
        """The sum of ``vector`` by our labels, and ``more`` of theirs."""
        for ours, theirs in self.kept:
            vector = renamed(vector, ours, theirs)
        by = ", ".join((*(ours for ours, _ in self.kept), *more))
        return f"sum by ({by}) ({vector})" if by else f"sum({vector})"


def inference(policy: Policy) -> str:
    """The matcher of a policy's series in the processor's metrics, whose label ``model`` is the policy's pattern."""
    return among("model", policy.models)


def golden_series(snapshot: Snapshot, policy: Policy, source: Source) -> list[Series]:
    """What the golden metrics of ``policy`` are made of."""
    match source:
        case "extproc":
            return [_extproc(policy)]
        case "istio":
            return [_istio(policy)]
        case "linkerd":
            return list(_linkerd(snapshot, policy))


def processor_series(policy: Policy) -> Series:
    """The processor's own series, which know what no mesh does: tokens."""
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
    """By the tags that ``istio_telemetry`` renders, whose values are those of the processor's labels.

    ``reporter="source"``: the proxy that our filter is in, which alone sees what never reached a model server, and
    every server, in the mesh or not. Both reporters together would count twice.
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
    """By the Service of each version and pool, as the gateway's proxy counts its answers.

    No proxy there knows models: which one it was is told where the policy owns only one.
    """
    for version in policy.answering or (Version(""),):
        for target in snapshot.targets[policy.name, version.name]:
            yield _backend(policy, target, backends(snapshot, policy, target))


class Service(NamedTuple):
    """A Service's port, as Linkerd's metrics name it; ``namespace`` empty: the policy does not say."""

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
    # Without versions of the policy's, the processor's label has what requests themselves name.
    own = place if target.version else {"gpu_pool": place["gpu_pool"]}
    return Series(
        {"policy": policy.name, **only, **place},
        (),
        select(answers, *names, **where),
        (
            select(answers, *names, 'http_status=~"5.."', **where),
            # No status, no answer. An error after a status is a client that left, or an answer that broke: see BROKEN.
            select(answers, *names, 'http_status=""', 'error!=""', **where),
            select("inference_errors_total", inference(policy), BROKEN, **own),
        ),
        select("outbound_http_route_backend_response_duration_seconds_bucket", *names, **where),
    )


def backends(snapshot: Snapshot, policy: Policy, target: Target) -> list[Service]:
    """The Services that linkerd-adapter renders for ``target``, or routes to where the policy names some."""
    apex, namespace = where = _apex(policy)
    if not (target.version or target.pool) and target.endpoints == (f"{policy.host}:{policy.port}",):
        return [Service(namespace, apex, policy.port)]
    ends = [(host, int(port)) for host, _, port in (endpoint.rpartition(":") for endpoint in target.endpoints)]
    named = [
        _named(host, port, namespace) for host, port in ends if host != policy.host and not is_ip(host.strip("[]"))
    ]
    alone = bool(target.version) and len(snapshot.targets[policy.name, target.version]) == 1
    shared = policy.name if sum(_apex(other) == where for other in snapshot.policies) > 1 else ""
    own = Service(namespace, label(apex, shared, target.version, "" if alone else target.pool), policy.port)
    return list(dict.fromkeys(named if len(named) == len(ends) else [*named, own]))


def _apex(policy: Policy) -> tuple[str, str]:
    """Name and namespace of the Service that is the policy's host."""
    apex, _, rest = policy.host.partition(".")
    return apex, rest.partition(".")[0] or policy.namespace


def _named(host: str, port: int, namespace: str) -> Service:
    name, _, rest = host.partition(".")
    return Service(rest.partition(".")[0] or namespace, name, port)
