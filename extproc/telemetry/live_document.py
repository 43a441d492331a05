"""What the page shows, as one JSON document: ``/live``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from extproc import __version__
from extproc.policy.snapshot import NONE, OTHER
from extproc.telemetry.golden import Counts, golden
from extproc.telemetry.metrics import Metrics, State
from extproc.telemetry.recent_traffic import KEPT, LONGEST, STEP, Key, Report, Window, edges, grouped

CALLERS = 12
"""Those shown by name."""
_LINES = 8
"""Models and versions in the charts, the busiest."""
_SMOOTH = 3
"""Slices that each point of the charts tells about."""


class LiveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of ``/live``."""

    window: Annotated[float, msgspec.Meta(ge=1, le=LONGEST)] = 60.0
    """Seconds."""
    since: int = 0
    """The first slice whose point of the charts is wanted; ``number`` of each tells which it is."""


def document(
    report: Report, config: Mapping[str, Any], metrics: Metrics, unready: str, asked: LiveQuery
) -> Mapping[str, Any]:
    """``config``: what ``/config`` shows."""
    window = report.window(asked.window)
    state = msgspec.msgpack.decode(metrics.state(), type=State)
    models = {place: Counts() for place in places(config)} | grouped(window.rows, lambda key: key[1:])
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
        "total": golden(_sum(window), window.seconds),
        "models": [
            {"model": model, "version": version, "gpu_pool": pool, **_golden(counts, window.seconds)}
            for (model, version, pool), counts in sorted(models.items(), key=lambda row: (row[0][0] == OTHER, row[0]))
        ],
        "edges": [
            {"caller": caller, "model": model, "version": version, "gpu_pool": pool, **_golden(counts, window.seconds)}
            for (caller, model, version, pool), counts in edges(window.rows, CALLERS).items()
        ],
        "canaries": [found for policy in config.get("policies", ()) if (found := _canary(policy, window.rows))],
        "step": STEP,
        "points": list(_points(report, asked.since)),
    }


def places(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The models, versions and pools that a policy names, traffic or not, as exchanges with them are labelled."""
    for policy in config.get("policies", ()):
        mirrors = {version["name"] for version in policy["versions"] if version["mirror"] is not None}
        for target in policy["targets"]:
            if target["version"] not in mirrors:
                yield from ((model, target["version"] or NONE, target["pool"] or NONE) for model in policy["models"])


def _sum(window: Window) -> Counts:
    total = Counts()
    for counts in window.rows.values():
        total.add(counts)
    return total


def _golden(counts: Counts, seconds: float) -> dict[str, Any]:
    return msgspec.structs.asdict(golden(counts, seconds))


def _canary(policy: Mapping[str, Any], rows: Mapping[Key, Counts]) -> dict[str, Any] | None:
    """Shares of the requests whose version the weights chose, beside what the weights say; None with one version."""
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


def _busiest(report: Report) -> set[tuple[str, str]]:
    requests: Counter[tuple[str, str]] = Counter()
    for one in report.slices:
        for (_, model, version, _), counts in one.rows:
            requests[model, version] += counts.requests
    return {line for line, _ in requests.most_common(_LINES)}


def _points(report: Report, since: int) -> Iterator[dict[str, Any]]:
    """One for each slice, the one that is not over yet too: by model and version, over some slices up to it."""
    last = int(report.now // STEP)
    first = max(since, last - KEPT + 1, int(report.started // STEP))
    drawn = _busiest(report)
    for number in range(first, last + 1):
        window = report.window(_SMOOTH * STEP, number)
        lines = grouped({key: counts for key, counts in window.rows.items() if key[1:3] in drawn}, lambda key: key[1:3])
        yield {
            "number": number,
            "lines": [
                {"model": model, "version": version, **_golden(counts, window.seconds)}
                for (model, version), counts in lines.items()
            ],
        }
