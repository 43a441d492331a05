"""The output of ``extproc tap``: one line for each request of running processors, as it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import msgspec

from extproc.admin.client import ReplicaTaps
from extproc.admin.replica_traffic import find_replicas, nobody_answers
from extproc.cli.terminal_text import NOTHING, milliseconds, printable
from extproc.policy.snapshot import NONE
from extproc.telemetry.tap import TapFilter, TapRecord

_DISCOVERY_INTERVAL = 5.0
"""Seconds between two resolutions of the processors' addresses."""
_POLL_INTERVAL = 0.25
"""Seconds after which the buffer yields an empty line."""
_COLOURS = {True: "\x1b[31m", False: "\x1b[32m"}
"""By whether the request failed: red, green."""
_RESET = "\x1b[0m"


def print_requests(sources: Sequence[str], wanted: TapFilter, *, as_json: bool) -> int:
    """Prints lines to stdout and problems to stderr until it is stopped.

    Raises ``SetupError`` where an address is invalid or none of them resolves.
    """
    taps = ReplicaTaps(wanted)
    coloured = sys.stdout.isatty()
    reported: set[str] = set()
    next_discovery = 0.0
    for line in taps.buffer.lines(_POLL_INTERVAL):
        if time.monotonic() >= next_discovery:
            replicas, unresolved = find_replicas(sources)
            if not replicas:
                raise nobody_answers(unresolved)
            taps.follow(replicas)
            next_discovery = time.monotonic() + _DISCOVERY_INTERVAL
        problems = {*unresolved, *taps.problems.values()}
        for problem in problems - reported:
            print(f"extproc: {problem}; trying again", file=sys.stderr, flush=True)
        reported = problems
        if line.strip():
            sys.stdout.write(line.decode() if as_json else _for_people(line, coloured=coloured))
            sys.stdout.flush()
    return 0


def _for_people(line: bytes, *, coloured: bool) -> str:
    try:
        return request_line(msgspec.json.decode(line, type=TapRecord), coloured=coloured) + "\n"
    except msgspec.ValidationError:
        lost = msgspec.json.decode(line).get("lost", 0)
        print(f"extproc: {lost} requests came too fast to be told", file=sys.stderr, flush=True)
        return ""


def request_line(record: TapRecord, *, coloured: bool = False) -> str:
    """One request for people, without control characters from outside."""
    code = record.code if record.code != "0" else "left"
    target = " ".join(name for name in (record.model, record.version, record.gpu_pool) if name != NONE)
    words = [
        record.time[11:23],
        f"{_COLOURS[record.failed]}{code:>4}{_RESET}" if coloured else f"{code:>4}",
        f"{milliseconds(record.ms):>6} ms",
        f"ttft {milliseconds(record.ttft_ms):>5}",
        f"{_tokens(record):>11}",
        target,
        f"{record.api} {record.operation}".strip(),
    ]
    words += [f"({record.asked})"] if record.asked and record.asked != record.model else []
    words += [record.error.replace("_", " ")] if record.error else []
    words += [] if record.observed else ["not read"]
    words += [f"from {record.caller}"] if record.caller else []
    return "  ".join(words[:2]) + "  " + printable("  ".join(words[2:]))


def _tokens(record: TapRecord) -> str:
    if record.output_tokens is None:
        return NOTHING
    about = "~" if record.estimated else ""
    return f"{NOTHING if record.input_tokens is None else record.input_tokens}→{about}{record.output_tokens} tok"
