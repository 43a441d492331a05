"""``extproc tap``: requests of running processors as they end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import msgspec

from extproc.admin.client import ReplicaTaps
from extproc.admin.fleet import find_replicas
from extproc.cli.golden_tables import NOTHING, ms, printable
from extproc.errors import SetupError
from extproc.policy.snapshot import NONE
from extproc.telemetry.tap import TapFilter, TapRecord

_AFRESH = 5.0
"""Seconds between two looks at which processors there are."""
_COLOURS = {True: "\x1b[31m", False: "\x1b[32m"}
_PLAIN = "\x1b[0m"


def tap(sources: Sequence[str], wanted: TapFilter, *, as_json: bool) -> int:
    """Goes on until it is stopped. Raises ``SetupError`` where an address can't be understood or nobody is there."""
    tapping = ReplicaTaps(wanted)
    coloured = sys.stdout.isatty()
    told: set[str] = set()
    again = 0.0
    for line in tapping.buffer.lines(0.25):
        if time.monotonic() >= again:
            found, unknown = find_replicas(sources)
            if not found:
                raise SetupError("; ".join(unknown))
            tapping.follow(found)
            again = time.monotonic() + _AFRESH
        problems = {*unknown, *tapping.problems.values()}
        for problem in problems - told:
            print(f"extproc: {problem}; trying again", file=sys.stderr, flush=True)
        told = problems
        if line.strip():
            sys.stdout.write(line.decode() if as_json else _for_people(line, coloured=coloured))
            sys.stdout.flush()
    return 0


def _for_people(line: bytes, *, coloured: bool) -> str:
    try:
        return text(msgspec.json.decode(line, type=TapRecord), coloured=coloured) + "\n"
    except msgspec.ValidationError:
        lost = msgspec.json.decode(line).get("lost", 0)
        print(f"extproc: {lost} requests came too fast to be told", file=sys.stderr, flush=True)
        return ""


def text(record: TapRecord, *, coloured: bool = False) -> str:
    """One line for people."""
    code = record.code if record.code != "0" else "left"
    place = " ".join(one for one in (record.model, record.version, record.gpu_pool) if one != NONE)
    words = [
        record.time[11:23],
        f"{_COLOURS[record.failed]}{code:>4}{_PLAIN}" if coloured else f"{code:>4}",
        f"{ms(record.ms):>6} ms",
        f"ttft {ms(record.ttft_ms):>5}",
        f"{_tokens(record):>11}",
        place,
        f"{record.api} {record.operation}".strip(),
    ]
    words += [f"({record.asked})"] if record.asked and record.asked != record.model else []
    words += [record.error.replace("_", " ")] if record.error else []
    words += [f"from {record.caller}"] if record.caller else []
    return "  ".join(words[:2]) + "  " + printable("  ".join(words[2:]))


def _tokens(record: TapRecord) -> str:
    if record.output_tokens is None:
        return NOTHING
    about = "~" if record.estimated else ""
    return f"{NOTHING if record.input_tokens is None else record.input_tokens}→{about}{record.output_tokens} tok"
