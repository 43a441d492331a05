"""``picking`` of a policy: how one endpoint of a version is picked for a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from extproc.policy.custom_metric import GPU_UTILIZATION
from extproc.policy.picking import SESSION, STRATEGIES, EndpointPages, Picking, Saturation
from extproc.policy.snapshot import GpuPool, Policy
from extproc.policy.target import Target, is_address
from extproc.policyfile import endpoint_pages
from extproc.policyfile.fields import Field, Fields
from extproc.policyfile.values import name

MAX_PRIORITY = 1_000_000
"""Priorities that can be written, on either side of 0."""
MAX_OBJECTIVES = 64
MAX_QUEUE = 1_000
"""Requests that wait in a process: each holds a stream, of which half (`--max-streams`) may wait for anything."""
_DEFAULT, _SATURATION = Picking(), Saturation()


def read(field: Field) -> Picking | None:
    """What the field says."""
    known = ("by", "blockBytes", "indexBlocks", "adapterWeight", "saturation", "maxQueue", "priority", "objectives")
    fields = field.fields(*known, "metrics")
    if fields is None:
        return None
    return Picking(
        by=fields.optional("by", lambda f: f.choice(*STRATEGIES), _DEFAULT.by),
        block_bytes=fields.optional("blockBytes", lambda f: f.integer(32, 65_536), _DEFAULT.block_bytes),
        index_blocks=fields.optional("indexBlocks", lambda f: f.integer(256, 4_194_304), _DEFAULT.index_blocks),
        adapter_weight=fields.optional("adapterWeight", lambda f: f.number(0, 1000), _DEFAULT.adapter_weight),
        saturation=fields.optional("saturation", _saturation, _SATURATION),
        priority=fields.optional("priority", _priority, _DEFAULT.priority),
        objectives=_objectives(fields),
        metrics=fields.optional("metrics", endpoint_pages.read, _DEFAULT.metrics),
        max_queue=fields.optional("maxQueue", lambda f: f.integer(0, MAX_QUEUE), _DEFAULT.max_queue),
    )


def check(spec: Field, policy: Policy, targets: Iterable[Target], pools: Mapping[str, GpuPool]) -> None:
    """The picking against the servers of its policy. ``targets``: those that answer clients; ``pools``: by name."""
    picking, field, targets = policy.picking, spec.at("picking"), list(targets)
    _check_gpus(spec, policy, targets, pools)
    if picking is None:
        return
    if picking.by == SESSION and policy.sticky is None:
        field.at("by").warn("requests have no key here, so that lots are drawn", "write sticky: {header: x-user-id}")
    watched = {version.name for version in policy.versions if version.inference_pool}
    picked = []
    for target in targets:
        if target.version in watched:
            continue
        servers = (*target.present(grpc=False), *target.grpc_endpoints)
        named = [endpoint for endpoint in servers if not is_address(endpoint)]
        if not named:
            picked.append(target)
            continue
        message = f"nothing is picked{_for(target)}: a proxy can be told addresses, and {named[0]} is "
        message += "a name, which may stand for several; its servers get requests by loadBalancer"
        field.warn(message, "list the servers under endpoints by their IP addresses")
    _check_pages(field, picking, picked, pools)


def _check_gpus(spec: Field, policy: Policy, targets: Iterable[Target], pools: Mapping[str, GpuPool]) -> None:
    """Custom metrics of how busy GPUs are, of servers that nothing tells it of."""
    pages = policy.picking.metrics if policy.picking else EndpointPages()
    kinds = {pages.kind} if pages.kind else {pools[target.pool].metrics_type for target in targets if target.pool}
    picks = policy.picking is not None or any(version.inference_pool for version in policy.versions)
    if picks and (pages.gpu_port or "triton" in kinds):
        return
    for i, metric in enumerate(policy.custom_metrics):
        if metric.source == GPU_UTILIZATION:
            message = "no servers are picked" if not picks else "nothing tells how busy the servers' GPUs are"
            remedy = "write picking: {metrics: {gpuPort: 9400}}, the port of the GPUs' exporter"
            spec.at("observability", "customMetrics", i, "source").warn(f"{message}: it has no value", remedy)


def _check_pages(field: Field, picking: Picking, targets: Iterable[Target], pools: Mapping[str, GpuPool]) -> None:
    """Fields that are of no use where no page tells how busy servers are."""
    needing = {
        "maxQueue": picking.max_queue > 0,
        "priority": picking.priority < 0,
        "objectives": any(priority < 0 for _, priority in picking.objectives),
        "metrics": replace(picking.metrics, gpu_port=0, pods=()) != EndpointPages(),
    }
    name = next((name for name, needs in needing.items() if needs), "")
    silent = next((t for t in targets if not (picking.metrics.kind or (t.pool and pools[t.pool].metrics_type))), None)
    if name and silent:
        outcome = ": none is ever saturated, so that this does nothing"
        if picking.saturation.stale:
            outcome = ": with saturation.stale they always are saturated, and such requests get 429"
        message = f"no page is read{_for(silent)}, as nothing says of what type its servers are"
        remedy = "write picking: {metrics: {type: vllm}}, or whatever they are"
        field.at(name).warn(message + (outcome if name != "metrics" else ""), remedy)


def _for(target: Target) -> str:
    on = "/".join(part for part in (target.version, target.pool) if part)
    return f" for {on}" if on else ""


def _saturation(field: Field) -> Saturation | None:
    fields = field.fields("waiting", "cache", "stale")
    if fields is None:
        return None
    return Saturation(
        fields.optional("waiting", lambda f: f.number(0, 1_000_000), _SATURATION.waiting),
        fields.optional("cache", lambda f: f.number(0, 1), _SATURATION.cache),
        fields.optional("stale", Field.boolean, _SATURATION.stale),
    )


def _priority(field: Field) -> int | None:
    return field.integer(-MAX_PRIORITY, MAX_PRIORITY)


def _objectives(fields: Fields) -> tuple[tuple[str, int], ...]:
    entries = fields.optional("objectives", Field.entries, [])
    if len(entries) > MAX_OBJECTIVES:
        fields.field.at("objectives").error(f"are {len(entries)}", f"give at most {MAX_OBJECTIVES}")
    found = ((name(key), _priority(value)) for _, key, value in entries[:MAX_OBJECTIVES])
    return tuple((objective, priority) for objective, priority in found if objective and priority is not None)
