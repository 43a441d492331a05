"""Where golden metrics come from: our processor, Istio's or Linkerd's proxies. Floor 4: may import floors 0 to 3.

Each source counts the same requests in its own terms. Here are the terms; what is recorded from them has the same names
and labels whatever the source, so dashboard and alerts do not care which it is.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

import msgspec

from extproc.render.promql import glob, one_of, renamed, select, text
from extproc.view import NONE, OTHER, Policy, Version, View

Source: TypeAlias = Literal["extproc", "istio", "linkerd"]
SOURCES: tuple[Source, ...] = get_args(Source)

FAILED = 'code=~"5.."'
"""What fails is the service's failure: not what a client asks wrongly (4xx), nor a client that leaves (0)."""
GRPC_FAILED = "2|4|12|13|14|15"
"""The gRPC statuses that OpenTelemetry counts as a server's error: unknown, deadline exceeded, unimplemented, internal,
unavailable, data loss. A gRPC call that fails has HTTP status 200."""
_UNNAMED = f"{NONE}|{OTHER}|unknown"
"""Values of Istio's tags where no processor has spoken."""

_OWN = (("model", "model"), ("version", "version"), ("gpu_pool", "gpu_pool"))


class Series(msgspec.Struct, frozen=True):
    """Part of a policy's requests as a source counts them, when their answers have ended."""

    labels: dict[str, str]
    """For what is recorded: what the series do not tell themselves."""
    kept: tuple[tuple[str, str], ...]
    """(our name, theirs) of labels that are kept."""
    requests: str
    """Selects a counter."""
    failures: tuple[str, ...]
    """Select those that failed, of the same counter."""
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
    return f"model=~{text(one_of(policy.models))}"


def golden(view: View, policy: Policy, source: Source) -> list[Series]:
    """What the golden metrics of ``policy`` are made of."""
    match source:
        case "extproc":
            return [_extproc(policy)]
        case "istio":
            return _istio(view, policy)
        case "linkerd":
            return _linkerd(view, policy)


def own(policy: Policy) -> Series:
    """The processor's own series, which know what no mesh does: tokens."""
    return _extproc(policy)


def _extproc(policy: Policy) -> Series:
    models = inference(policy)
    return Series(
        {"policy": policy.name},
        _OWN,
        select("inference_requests_total", models),
        (select("inference_requests_total", models, FAILED),),
        select("inference_request_duration_seconds_bucket", models),
    )


def _istio(view: View, policy: Policy) -> list[Series]:
    """By the tags ``model_name``, ``model_version`` and ``gpu_pool``, which are our headers.

    ``reporter="source"``: the proxy that our filter is in, which alone sees what never reached a model server, and
    every server, in the mesh or not. Both reporters together would count twice. ``model_name`` is the model as the
    client calls it; what is recorded is the policy's pattern, so that clients can't make up series.
    """
    found = []
    exact = [model for model in policy.models if "*" not in model]
    if exact:
        found.append(_tagged(policy, (f"model_name=~{text(one_of(exact))}",), ("model", "model_name")))
    for pattern in (model for model in policy.models if "*" in model):
        # As the processor looks: exact names and longer patterns come first, and take what they match.
        order = [match.pattern for match in view.patterns]
        earlier = order[: order.index(pattern)]
        taken = [glob(other) for other in earlier if "*" in other or re.fullmatch(glob(pattern), other)]
        names = f"model_name=~{text(glob(pattern))}", f"model_name!~{text('|'.join([_UNNAMED, *taken]))}"
        found.append(_tagged(policy, names, model=pattern))
    return found


def _tagged(policy: Policy, names: tuple[str, ...], *kept: tuple[str, str], **labels: str) -> Series:
    who = ('reporter="source"', *names)
    if policy.versions:
        versions = f"model_version=~{text(one_of(v.name for v in policy.answering))}"
        who, kept = (*who, versions), (*kept, ("version", "model_version"))
    else:
        labels["version"] = OTHER
    grpc = f'grpc_response_status=~"{GRPC_FAILED}"'
    return Series(
        {"policy": policy.name, **labels},
        (*kept, ("gpu_pool", "gpu_pool")),
        select("istio_requests_total", *who),
        (select("istio_requests_total", *who, 'response_code=~"5.."'), select("istio_requests_total", *who, grpc)),
        select("istio_request_duration_milliseconds_bucket", *who),
        0.001,
    )


def _linkerd(view: View, policy: Policy) -> list[Series]:
    """By the Service of each version, as the client's proxy counts its answers. No proxy there knows models or pools:
    both are told where the policy has only one."""
    return [_backend(view, policy, version) for version in policy.answering or (Version(""),)]


def _backend(view: View, policy: Policy, version: Version) -> Series:
    service, _, rest = policy.host.partition(".")
    namespace = policy.namespace or rest.partition(".")[0]
    parent = {"parent_kind": "Service", "parent_name": service} | ({"parent_namespace": namespace} if namespace else {})
    backend = f"{service}-{version.name}" if version.name else service
    pools = {target.pool or NONE for target in view.targets[policy.name, version.name]}
    labels = {"policy": policy.name, "version": version.name or OTHER}
    labels |= {"model": policy.models[0]} if len(policy.models) == 1 else {}
    labels |= {"gpu_pool": next(iter(pools))} if len(pools) == 1 else {}
    answers = "outbound_http_route_backend_response_statuses_total"
    where = {**parent, "backend_name": backend}
    return Series(
        labels,
        (),
        select(answers, **where),
        (select(answers, 'http_status=~"5.."', **where), select(answers, 'error!=""', **where)),
        select("outbound_http_route_backend_response_duration_seconds_bucket", **where),
    )
