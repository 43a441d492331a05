"""The traffic of several running processors, added up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import msgspec

from extproc.admin.client import Replica, Unreachable, resolve_replicas
from extproc.errors import SetupError
from extproc.telemetry.golden_metrics import Counts
from extproc.telemetry.recent_traffic_by_caller import RowKey, TrafficReport, TrafficWindow, add_rows

_MAX_CONCURRENT = 32
"""Processors that are asked at a time."""


class ReplicaTraffic(msgspec.Struct, frozen=True):
    """The recent traffic of those that answered, and why the others did not."""

    window: TrafficWindow
    config: Mapping[str, Any]
    """The ``/config`` of one of them."""
    answered: tuple[str, ...]
    """Names of the processors that answered."""
    problems: tuple[str, ...]
    """For each of the others, why it is left out."""


def collect_report(sources: Sequence[str], seconds: float) -> ReplicaTraffic:
    """The last ``seconds`` of traffic at the processors of ``sources``. Raises ``SetupError`` where none answers."""
    found, problems = find_replicas(sources)
    rows: dict[RowKey, Counts] = {}
    covered = 1.0
    answered: list[str] = []
    config: Mapping[str, Any] = {}
    with ThreadPoolExecutor(min(_MAX_CONCURRENT, max(1, len(found)))) as pool:
        for replica, outcome in zip(found, pool.map(_fetch, found), strict=True):
            if isinstance(outcome, str):
                problems.append(outcome)
                continue
            report, policy = outcome
            try:
                window = report.window(seconds)
                merged = {key: deepcopy(counts) for key, counts in rows.items()}
                add_rows(merged, window.rows.items())
            except ValueError as problem:
                problems.append(f"{replica.name} is of another version than this command: {problem}")
                continue
            rows = merged
            covered, config = max(covered, window.seconds), policy
            answered.append(replica.name)
    if not answered:
        raise nobody_answers(problems)
    return ReplicaTraffic(TrafficWindow(covered, rows), config, tuple(answered), tuple(problems))


def nobody_answers(problems: Sequence[str]) -> SetupError:
    """The error of a look at processors of which none answers. ``problems``: why, of each."""
    remedy = "give the admin port of a running processor: --admin of `extproc serve`, the page that `extproc up` names"
    return SetupError("\n".join((*problems, remedy)))


def find_replicas(sources: Sequence[str]) -> tuple[list[Replica], list[str]]:
    """The processors at ``sources``, and why names among them can't be resolved. Raises ``SetupError``."""
    found: list[Replica] = []
    problems: list[str] = []
    for source in sources:
        try:
            found += resolve_replicas([source])
        except Unreachable as problem:
            problems.append(str(problem))
    return list(dict.fromkeys(found)), problems


def _fetch(replica: Replica) -> tuple[TrafficReport, Mapping[str, Any]] | str:
    """Its recent traffic and its ``/config``; or, as text, why they can't be had."""
    try:
        report = msgspec.json.decode(replica.get("/recent"), type=TrafficReport)
        return report, json.loads(replica.get("/config"))
    except Unreachable as problem:
        return str(problem)
    except (msgspec.MsgspecError, ValueError):
        return f"{replica.name} does not answer as a processor does"
