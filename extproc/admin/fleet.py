"""Several running processors looked at as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import msgspec

from extproc.admin.client import Replica, Unreachable, replicas
from extproc.errors import SetupError
from extproc.telemetry.golden_metrics import Counts
from extproc.telemetry.recent_traffic import RowKey, TrafficReport, TrafficWindow, add_rows

_AT_ONCE = 32


class Fleet(msgspec.Struct, frozen=True):
    """What those that answered remember together, and why the others did not."""

    window: TrafficWindow
    config: Mapping[str, Any]
    """The policy of one of them, as ``/config`` shows it."""
    answered: tuple[str, ...]
    problems: tuple[str, ...]


def look(sources: Sequence[str], seconds: float) -> Fleet:
    """The last so many seconds of the processors at ``sources``. Raises ``SetupError`` where none answers."""
    found, problems = known(sources)
    rows: dict[RowKey, Counts] = {}
    covered = 1.0
    answered: list[str] = []
    config: Mapping[str, Any] = {}
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(found)))) as pool:
        for replica, said in zip(found, pool.map(_ask, found), strict=True):
            if isinstance(said, str):
                problems.append(said)
                continue
            report, policy = said
            window = report.window(seconds)
            try:
                merged = {key: deepcopy(counts) for key, counts in rows.items()}
                add_rows(merged, window.rows.items())
            except ValueError as problem:
                problems.append(f"{replica.name} is of another version than this command: {problem}")
                continue
            rows = merged
            covered, config = max(covered, window.seconds), policy
            answered.append(replica.name)
    if not answered:
        raise SetupError("; ".join(problems))
    return Fleet(TrafficWindow(covered, rows), config, tuple(answered), tuple(problems))


def known(sources: Sequence[str]) -> tuple[list[Replica], list[str]]:
    """The processors at ``sources``, and what is wrong with those that are not known. Raises ``SetupError``."""
    found: list[Replica] = []
    problems: list[str] = []
    for source in sources:
        try:
            found += replicas([source])
        except Unreachable as problem:
            problems.append(str(problem))
    return list(dict.fromkeys(found)), problems


def _ask(replica: Replica) -> tuple[TrafficReport, Mapping[str, Any]] | str:
    try:
        report = msgspec.json.decode(replica.get("/recent"), type=TrafficReport)
        return report, json.loads(replica.get("/config"))
    except Unreachable as problem:
        return str(problem)
    except (msgspec.MsgspecError, ValueError):
        return f"{replica.name} does not answer as a processor does"
