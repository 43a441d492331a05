"""`python -m benchmarks.mesh.variants`: what one thing less, or another way, in Envoy's configuration saves.

Each variant is ours as rendered, with one change; not each keeps every promise: one without retries loses requests when
a processor dies. Ratios to ours as rendered are those of neighbouring turns.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from statistics import median, quantiles
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.mesh import load, session
from benchmarks.mesh.bench import Turn
from benchmarks.mesh.load import Workload
from benchmarks.mesh.report import surroundings
from benchmarks.mesh.scenarios import Doc, Scenario, serve
from extproc.render.envoy.access_logs import access_logs
from extproc.render.envoy.envoy_options import OBSERVE_FILTER, ROUTE_FILTER, EnvoyOptions, avoid_previous_hosts

AS_RENDERED = "as rendered"
BASE = Scenario(AS_RENDERED, serve(), body="buffered", observe=True, account=True, observability="{sampling: 1}")
WORKLOADS = (
    Workload("0.5 KB", 512, 16, tokens=200),
    Workload("streamed 200", 512, rate=32, answer="streamed", tokens=200),
)


def _found(document: Any, key: str) -> Iterator[Doc]:
    """Every object in the document that has the key."""
    if isinstance(document, dict):
        if key in document:
            yield document
        for value in document.values():
            yield from _found(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from _found(value, key)


def _without(key: str, within: str = "") -> Callable[[Doc], None]:
    """Removes a field wherever it is set, or only in the filter of this name."""

    def edit(document: Doc) -> None:
        for place in [document] if not within else _filters(document, within):
            for holder in list(_found(place, key)):
                del holder[key]

    return edit


def _filters(document: Doc, name: str) -> Iterator[Doc]:
    """The configuration of the filter ``name``."""
    return (one["typed_config"] for one in _found(document, "typed_config") if one.get("name") == name)


def _with(within: str, **fields: Any) -> Callable[[Doc], None]:
    """Sets fields of a filter."""

    def edit(document: Doc) -> None:
        for config in _filters(document, within):
            config.update(fields)

    return edit


def _mode(within: str, **fields: str) -> Callable[[Doc], None]:
    """Sets fields of a filter's processing mode."""

    def edit(document: Doc) -> None:
        for config in _filters(document, within):
            for holder in _found(config, "processing_mode"):
                holder["processing_mode"] |= fields

    return edit


def _file_log(*, text: bool) -> Callable[[Doc], None]:
    """Adds the access log for people, as JSON or as a line of text with the same fields."""

    def edit(document: Doc) -> None:
        (log, *_) = access_logs(EnvoyOptions(access_log="/dev/null"))
        if text:
            fields = log["typed_config"].pop("log_format")["json_format"].values()
            log["typed_config"]["log_format"] = {"text_format_source": {"inline_string": " ".join(fields) + "\n"}}
        for manager in _found(document, "access_log"):
            manager["access_log"].append(log)

    return edit


def variants() -> list[Scenario]:
    """Ours as rendered first."""
    edits = {
        "no retry_policy on the gRPC service": _without("retry_policy", ROUTE_FILTER),
        "retries on no host tried before, of both filters": _retries(avoid_previous_hosts()),
        "request bodies full duplex": _mode(
            ROUTE_FILTER, request_body_mode="FULL_DUPLEX_STREAMED", request_trailer_mode="SEND"
        ),
        "request bodies streamed": _mode(ROUTE_FILTER, request_body_mode="STREAMED"),
        "all headers forwarded": _without("forward_rules"),
        "route: only the headers of this request": _with(
            ROUTE_FILTER,
            forward_rules={"allowed_headers": {"patterns": [{"exact": name} for name in _NEEDED]}},
        ),
        "observer: no attributes": _without("request_attributes"),
        "observer: no response headers": _mode(OBSERVE_FILTER, response_header_mode="SKIP"),
        "observer: no response trailers": _mode(OBSERVE_FILTER, response_trailer_mode="SKIP"),
        "observer: no request headers": _mode(OBSERVE_FILTER, request_header_mode="SKIP"),
        "no stat_prefix in the filters": _no_stat_prefix,
        "streams reset, not half-closed": _without("envoy.reloadable_features.ext_proc_graceful_grpc_close"),
        "access log for people, JSON": _file_log(text=False),
        "access log for people, text": _file_log(text=True),
    }
    return [BASE, *(msgspec.structs.replace(BASE, name=name, edit=edit) for name, edit in edits.items())]


_NEEDED = (":method", ":path", "content-type", "content-length", "x-user-id")


def _retries(more: Doc) -> Callable[[Doc], None]:
    """Gives both filters the retry policy of the one that decides, and these fields in it."""

    def edit(document: Doc) -> None:
        (decides,) = (one["grpc_service"] for one in _filters(document, ROUTE_FILTER))
        policy = decides["retry_policy"] | more
        for name in (ROUTE_FILTER, OBSERVE_FILTER):
            for config in list(_filters(document, name)):
                for holder in _found(config, "grpc_service"):
                    holder["grpc_service"]["retry_policy"] = policy

    return edit


def _no_stat_prefix(document: Doc) -> None:
    for name in (ROUTE_FILTER, OBSERVE_FILTER):
        _without("stat_prefix", name)(document)


class Compared(msgspec.Struct, frozen=True):
    """By ours as rendered: medians of the ratios within a round, with their quartiles."""

    envoy: float
    envoy_quartiles: tuple[float, float]
    together: float
    errors: int


def compare(turns: dict[tuple[str, str], list[Turn]]) -> dict[str, dict[str, Compared]]:
    """By variant, then workload. Two rounds at least."""
    found: dict[str, dict[str, Compared]] = {}
    for (name, workload), mine in turns.items():
        base = {turn.round: turn for turn in turns[AS_RENDERED, workload]}
        envoy = [turn.envoy_cpu / base[turn.round].envoy_cpu for turn in mine]
        together = [_together(turn) / _together(base[turn.round]) for turn in mine]
        low, _, high = quantiles(envoy, n=4, method="inclusive")
        errors = sum(turn.errors for turn in mine)
        found.setdefault(name, {})[workload] = Compared(median(envoy), (low, high), median(together), errors)
    return found


def _together(turn: Turn) -> float:
    return turn.envoy_cpu + turn.server_cpu


def main(arguments: Sequence[str] | None = None) -> int:
    """A table on stderr, JSON on stdout. Never fails for being slow: a shared machine may be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mesh.variants",
        description="What one change of Envoy's configuration costs or saves.",
    )
    parser.add_argument("--rounds", type=int, default=12, help="turns of every cell (default: %(default)s)")
    parser.add_argument("--variant", action="append", metavar="REGEX", help="only variants whose names match")
    options = parser.parse_args(arguments)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    if not load.available():
        console.print("wrk is missing, nothing was measured; on Debian: apt-get install wrk")
        return 1
    wanted = options.variant or [""]
    chosen = [s for s in variants() if s is BASE or any(re.search(text, s.name) for text in wanted)]
    turns, _ = session.run(lambda _: chosen, WORKLOADS, options.rounds, 1, console)
    compared = compare(turns)
    table = Table(box=None, title="CPU by ours as rendered", title_justify="left")
    table.add_column("", no_wrap=True)
    for workload in WORKLOADS:
        for heading in ("Envoy", "quartiles", "with processor"):
            table.add_column(f"{workload.name}: {heading}", justify="right")
    for name, cells in compared.items():
        row = [name]
        for workload in WORKLOADS:
            one = cells[workload.name]
            failed = f", {one.errors} errors" if one.errors else ""
            low, high = one.envoy_quartiles
            row += [f"{one.envoy:.3f}", f"{low:.3f}-{high:.3f}", f"{one.together:.3f}{failed}"]
        table.add_row(*row)
    console.print(table)
    found = {"surroundings": surroundings(options.rounds, 1), "variants": msgspec.to_builtins(compared)}
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
