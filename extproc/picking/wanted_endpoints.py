"""The endpoints that policies have picked, and the metrics page of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from urllib.parse import urlsplit

from extproc.picking.board import GpuSource, Page, Wanted
from extproc.policy.picking import EndpointPages, Picking
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.target import Target

_PATHS = {"nim": "/v1/metrics"}
_PATH = "/metrics"
"""By type of server, and of the others."""


def picked_targets(snapshot: Snapshot) -> Iterator[tuple[Policy, Target]]:
    """Those of which an endpoint is picked for each request."""
    for policy in snapshot.policies:
        if policy.picking is not None:
            for version in policy.answering or (Version(""),):
                yield from ((policy, target) for target in snapshot.targets[policy.name, version.name])


def wanted_endpoints(snapshot: Snapshot) -> dict[str, Wanted]:
    """What this process wants on the board, by ``host:port``; of an endpoint of several targets what the first says."""
    found: dict[str, Wanted] = {}
    for policy, target in picked_targets(snapshot):
        picking, pool = policy.picking or Picking(), snapshot.pool_by_name.get(target.pool)
        timeout, gpus = policy.timeout or inf, gpu_sources(picking.metrics)
        for endpoint in target.present(grpc=False):
            page = page_of(endpoint, picking, pool, tls=bool(target.upstream.tls))
            found.setdefault(endpoint, Wanted(page, timeout, gpus(endpoint)))
        for endpoint in target.grpc_endpoints:
            page = page_of(endpoint, picking, pool, tls=False) if picking.metrics.port else None
            found.setdefault(endpoint, Wanted(page, timeout, gpus(endpoint)))
    return found


def gpu_sources(pages: EndpointPages) -> Callable[[str], GpuSource | None]:
    """By endpoint, where it is told how busy its GPUs are: by the exporter on its pod's node, or on its own host."""
    pods = {pod.endpoint: pod for pod in pages.pods}

    def source(endpoint: str) -> GpuSource | None:
        if not pages.gpu_port:
            return None
        pod = pods.get(endpoint)
        host = pod.host_ip if pod else endpoint.rpartition(":")[0].strip("[]")
        host = f"[{host}]" if ":" in host else host
        return GpuSource(f"http://{host}:{pages.gpu_port}{_PATH}", pod.pod if pod else "")

    return source


def page_of(endpoint: str, picking: Picking, pool: GpuPool | None, *, tls: bool) -> Page | None:
    """The page of one endpoint; None where no type of servers is named. ``tls``: the endpoint is called by TLS."""
    pages, url = picking.metrics, urlsplit(pool.metrics_url if pool else "")
    kind = pages.kind or (pool.metrics_type if pool else "")
    if not kind:
        return None
    path = pages.path or url.path + (f"?{url.query}" if url.query else "") or _PATHS.get(kind, _PATH)
    scheme = url.scheme or ("https" if tls else "http")
    address = f"{endpoint.rpartition(':')[0]}:{pages.port}" if pages.port else endpoint
    return Page(kind, f"{scheme}://{address}{path}", pages.interval)
