"""The JSON document of the admin page: ``/live``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from extproc import __version__
from extproc.policy.snapshot import NONE, OTHER
from extproc.telemetry import endpoint_gauges
from extproc.telemetry.golden_metrics import Counts, compute_golden_metrics
from extproc.telemetry.metrics import Metrics, State
from extproc.telemetry.recent_traffic_by_caller import (
    MAX_SLICES,
    MAX_WINDOW,
    SLICE_SECONDS,
    RowKey,
    TrafficReport,
    TrafficWindow,
    group_rows,
    limit_callers,
)
from extproc.telemetry.serving_gauges import merged_breakers, merged_queues

MAX_CALLERS = 12
"""Callers that are shown by name."""
_OF_BREAKERS = ("limit", "in_flight", "states", "ejected")
_MAX_LINES = 8
"""Lines of the charts: the models and versions with most requests."""
_SLICES_PER_POINT = 3
"""Slices that each point of the charts is computed from, so that the lines are smooth."""


class LiveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of ``/live``."""

    window: Annotated[float, msgspec.Meta(ge=1, le=MAX_WINDOW)] = 60.0
    """Seconds."""
    since: int = 0
    """Number of the first slice whose point of the charts is wanted."""


def build_document(
    report: TrafficReport,
    config: Mapping[str, Any],
    metrics: Metrics,
    unready: str,
    query: LiveQuery,
    rollouts: Sequence[Mapping[str, Any]] = (),
) -> Mapping[str, Any]:
    """``config``: the document of ``/config``; ``unready``: why the processor is not ready, empty if it is;
    ``rollouts``: as ``rollout.status`` has them.
    """
    window = report.window(query.window)
    state = msgspec.msgpack.decode(metrics.state(), type=State)
    places = pool_places(config)
    models = {labels: Counts() for labels in policy_label_sets(config)} | group_rows(window.rows, lambda key: key[1:])
    return {
        "version": __version__,
        "now": report.now,
        "started": report.started,
        "seconds": window.seconds,
        "unready": unready,
        "generation": config.get("generation"),
        "streams": state.streams,
        "workers": metrics.workers,
        "unmatched": {reason: count for (reason,), count in state.counters["inference_unmatched"].items()},
        "errors": {reason: count for (reason,), count in state.counters["extproc_errors"].items()},
        "total": compute_golden_metrics(_sum(window), window.seconds),
        "models": [
            {"model": model, "version": version, "gpu_pool": pool, **_golden(counts, window.seconds)}
            for (model, version, pool), counts in sorted(models.items(), key=lambda row: (row[0][0] == OTHER, row[0]))
        ],
        "edges": [
            {
                "caller": caller,
                "model": model,
                "version": version,
                "gpu_pool": pool,
                **places.get(pool, {}),
                **_golden(counts, window.seconds),
            }
            for (caller, model, version, pool), counts in limit_callers(window.rows, MAX_CALLERS).items()
        ],
        "canaries": [found for policy in config.get("policies", ()) if (found := _canary(policy, window.rows))],
        "rollouts": rollouts,
        "breakers": [
            dict(zip(("policy", "version", "gpu_pool", *_OF_BREAKERS), (*name, *found), strict=True))
            for name, found in merged_breakers((*metrics.servings, metrics.serving())).items()
        ],
        "endpoints": endpoint_gauges.rows(
            endpoint_gauges.merged([each.endpoints for each in (*metrics.servings, metrics.serving())]),
            merged_queues((*metrics.servings, metrics.serving())),
        ),
        "step": SLICE_SECONDS,
        "points": list(_points(report, query.since)),
    }


def policy_label_sets(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(model, version, GPU pool) of everything that the policies in ``config`` name, as exchanges are labelled."""
    for policy in config.get("policies", ()):
        mirrors = {version["name"] for version in policy["versions"] if version["mirror"] is not None}
        for target in policy["targets"]:
            if target["version"] not in mirrors:
                yield from ((model, target["version"] or NONE, target["pool"] or NONE) for model in policy["models"])


def pool_places(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """``cluster`` and ``locality`` of each GPU pool by its name; empty where no pool of ``config`` has either."""
    found = {
        pool["name"]: {name: pool[name] or NONE for name in ("cluster", "locality")} for pool in config.get("pools", ())
    }
    return found if any(place != NONE for places in found.values() for place in places.values()) else {}


def _sum(window: TrafficWindow) -> Counts:
    total = Counts()
    for counts in window.rows.values():
        total.add(counts)
    return total


def _golden(counts: Counts, seconds: float) -> dict[str, Any]:
    return msgspec.structs.asdict(compute_golden_metrics(counts, seconds))


def _canary(policy: Mapping[str, Any], rows: Mapping[RowKey, Counts]) -> dict[str, Any] | None:
    """Each version's share of the requests whose version the weights chose, and its weight; None with one version."""
    versions = [version for version in policy["versions"] if version["mirror"] is None]
    weights = sum(version["weight"] for version in versions)
    if len(versions) < 2 or not weights:
        return None
    drawn = dict.fromkeys((version["name"] for version in versions), 0)
    for (_, model, version, _), counts in rows.items():
        if model in policy["models"] and version in drawn:
            drawn[version] += counts.drawn
    total = sum(drawn.values())
    return {
        "policy": policy["name"],
        "models": policy["models"],
        "sticky": bool(policy["sticky"]),
        "requests": total,
        "versions": [
            {
                "version": version["name"],
                "weight": version["weight"] / weights,
                "share": drawn[version["name"]] / total if total else None,
                "requests": drawn[version["name"]],
            }
            for version in versions
        ],
    }


def _busiest(report: TrafficReport) -> set[tuple[str, str]]:
    """The (model, version) of most requests."""
    requests: Counter[tuple[str, str]] = Counter()
    for one in report.slices:
        for (_, model, version, _), counts in one.rows:
            requests[model, version] += counts.requests
    return {line for line, _ in requests.most_common(_MAX_LINES)}


def _points(report: TrafficReport, since: int) -> Iterator[dict[str, Any]]:
    """A point for each slice, the unfinished one included: by model and version, over some slices up to it."""
    last = int(report.now // SLICE_SECONDS)
    first = max(since, last - MAX_SLICES + 1, int(report.started // SLICE_SECONDS))
    shown = _busiest(report)
    for number in range(first, last + 1):
        window = report.window(_SLICES_PER_POINT * SLICE_SECONDS, number)
        rows = {key: counts for key, counts in window.rows.items() if key[1:3] in shown}
        lines = group_rows(rows, lambda key: key[1:3])
        yield {
            "number": number,
            "lines": [
                {"model": model, "version": version, **_golden(counts, window.seconds)}
                for (model, version), counts in lines.items()
            ],
        }
