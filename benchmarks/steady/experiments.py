"""The experiments: each says what came out, what was promised, and whether that held.

The processor runs as users run it: buffered bodies, metrics, the observer on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.mesh.bench import RunningScenario
from benchmarks.mesh.scenarios import BASELINE, Scenario, router_only, serve
from benchmarks.requests import infer
from benchmarks.steady.rig import Rig, busiest, first_stream, held, metric, open_loop, spent, stalls

OURS = Scenario("ours", serve(), body="buffered", observe=True)
PLAIN = Scenario(BASELINE, filters=router_only)

IDLE_STREAMS, MANY_POLICIES = 2_000, 1_000
STALL, WINDOW = 0.020, 0.25
"""Seconds for which the cores must have stood still, and before a request within which, for it to be put down to them.
Where every other millisecond is missing, half of saturation is all that the machine can do.
"""
WARM_UP_STREAMS = 30_000
"""Streams before memory counts: until then a processor's caches fill."""

Report = Callable[[str], None]


class Size(msgspec.Struct, frozen=True):
    """How long the experiments go on."""

    starts: int = 15
    tail_requests: int = 100_000
    streams: int = 500_000
    turns: int = 7
    turn_seconds: float = 2.0
    soak_seconds: float = 600.0


class Outcome(msgspec.Struct, frozen=True):
    """One experiment's result."""

    name: str
    figures: dict[str, Any]
    promise: str
    held: bool


def start(rig: Rig, size: Size, report: Report, directory: Path) -> Outcome:  # noqa: ARG001
    """From exec to the answer of the first stream; the first start may compile, and does not count."""
    policy = directory / "start.yaml"
    policy.write_text(OURS.policy("127.0.0.1:9"))
    seconds = []
    for number in range(size.starts + 1):
        report(f"start {number} of {size.starts}")
        address = f"unix://{directory / f'start-{number}.sock'}"
        seconds.append(first_stream(serve()(policy, address), address, infer(user=1)[0])[0])
    milliseconds = [round(1000 * value) for value in sorted(seconds[1:])]
    figures = {"median_ms": median(milliseconds), "best_ms": milliseconds[0], "worst_ms": milliseconds[-1]}
    return Outcome("start", figures, "exec to first stream at most 300 ms", figures["median_ms"] <= 300)


def tail(rig: Rig, size: Size, report: Report, directory: Path) -> Outcome:  # noqa: ARG001 - every experiment's signature
    """Slow requests at half of saturation; the same requests to an Envoy without a filter tell the machine's part."""
    ours, plain = rig.start(OURS), rig.start(PLAIN)
    rate = rig.saturation([ours, plain]) / 2
    before = spent()
    with stalls() as cores:
        mine, theirs = _load([ours, plain], rate, size.tail_requests, report)
    busy = round(busiest(before, spent()), 2)
    stalled = sorted(stall for core in cores for stall in core or ())
    own = mine["slow"] - sum(
        _stalled_seconds(stalled, mine["begin"] + due, took / 1000) > STALL for due, took in mine["slowest"]
    )
    looks = [
        _stalled_seconds(stalled, mine["begin"] + second, 0) > STALL for second in range(int(size.tail_requests / rate))
    ]
    machine: dict[str, float] | str = {
        "still_s": round(sum(end - begin for begin, end in stalled), 2),
        "longest_ms": round(1000 * max((end - begin for begin, end in stalled), default=0), 1),
        "share_of_moments_excused": round(sum(looks) / max(1, len(looks)), 3),
    }
    if None in cores:
        machine = "not watched: that takes the right to go first, as root has it"
    figures = {
        "rate_per_s": round(rate),
        "busiest_core": busy,
        "ours": mine,
        "without filter": theirs,
        "machine": machine,
        "slow_own": own,
    }
    promise = "none of 100,000 requests above 50 ms at half of saturation, but where the machine stalled still"
    return Outcome("tail", figures, promise, own == 0 and set(mine["outcomes"]) == {"200"})


def _stalled_seconds(stalled: list[tuple[float, float]], due: float, took: float) -> float:
    """For how long the cores stalled still while a request was under way, and shortly before."""
    first, last = due - WINDOW, due + took
    return sum(min(end, last) - max(begin, first) for begin, end in stalled if end > first and begin < last)


def memory(rig: Rig, size: Size, report: Report, directory: Path) -> Outcome:  # noqa: ARG001
    """Resident memory over many streams."""
    standing = rig.start(OURS)
    (processor,) = standing.processors
    samples: list[tuple[int, float]] = []
    done = 0.0
    while done < size.streams + WARM_UP_STREAMS:
        done += 2 * 5 * rig.turn(standing, 5).rate  # each request is routed by one stream and observed by another
        samples.append((round(done), round(processor.rss_mib(), 2)))
        report(f"{done:,.0f} streams, {samples[-1][1]} MiB")
    settled = [mib for streams, mib in samples if streams > min(WARM_UP_STREAMS, samples[-1][0] - 1)]
    drift = 100 * (max(settled) - min(settled)) / min(settled) / 2
    figures = {"first_mib": settled[0], "last_mib": settled[-1], "drift_percent": round(drift, 2), "samples": samples}
    held_ = drift <= 3 and settled[-1] <= 60
    return Outcome("memory", figures, "at most 60 MiB, flat within 3 % over 500,000 streams", held_)


def idle(rig: Rig, size: Size, report: Report, directory: Path) -> Outcome:  # noqa: ARG001
    """CPU per request beside idle streams, and their memory."""
    free, laden = rig.start(OURS), rig.start(OURS)
    for one in (free, laden):
        rig.turn(one, size.turn_seconds)
    before = laden.processors[0].rss_mib()
    with held(laden, IDLE_STREAMS):
        kib = 1024 * (laden.processors[0].rss_mib() - before) / IDLE_STREAMS
        figures = _compared(rig, laden, free, size, report)
    figures |= {"streams": IDLE_STREAMS, "kib_per_stream": round(kib, 1)}
    return Outcome("idle", figures, "2,000 idle streams: at most 1.1 times the CPU", figures["ratio"] <= 1.1)


def policies(rig: Rig, size: Size, report: Report, directory: Path) -> Outcome:  # noqa: ARG001
    """CPU per request beside policies that own other models."""
    one, many = rig.start(OURS), rig.start(msgspec.structs.replace(OURS, policies=MANY_POLICIES))
    figures = _compared(rig, many, one, size, report) | {"policies": MANY_POLICIES}
    return Outcome("policies", figures, "1,000 policies: at most 1.1 times the CPU", figures["ratio"] <= 1.1)


def soak(rig: Rig, size: Size, report: Report, directory: Path) -> Outcome:  # noqa: ARG001
    """Half of saturation for minutes: no error, flat memory, no stream left open."""
    standing = rig.start(OURS)
    (processor,) = standing.processors
    rate = rig.saturation([standing]) / 2
    samples: list[float] = []

    def note(text: str) -> None:
        samples.append(round(processor.rss_mib(), 2))
        report(f"{text}, {samples[-1]} MiB")

    (result,) = _load([standing], rate, int(rate * size.soak_seconds), note)
    time.sleep(1)  # Envoy closes what it observed
    open_streams = metric(processor, "extproc_streams")
    errors = metric(processor, "extproc_errors_total")
    drift = 100 * (max(samples) - min(samples)) / min(samples) / 2
    figures = {
        "rate_per_s": round(rate),
        "client": result,
        "mib": [min(samples), max(samples)],
        "drift_percent": round(drift, 2),
        "open_streams": open_streams,
        "errors": errors,
    }
    well = set(result["outcomes"]) == {"200"} and not open_streams and not errors and drift <= 3
    return Outcome("soak", figures, "no error, memory flat within 3 %, no stream left open", well)


EXPERIMENTS: Mapping[str, Callable[[Rig, Size, Report, Path], Outcome]] = {
    "start": start,
    "idle": idle,
    "policies": policies,
    "tail": tail,
    "memory": memory,
    "soak": soak,
}


def run(name: str, size: Size, report: Report, directory: Path) -> Outcome:
    """One experiment; what it started ends with it."""
    directory.mkdir()
    with ExitStack() as stack:
        return EXPERIMENTS[name](Rig(stack, directory), size, report, directory)


def _load(standing: list[RunningScenario], rate: float, count: int, report: Report) -> list[dict[str, Any]]:
    begin = time.monotonic()
    for reports in open_loop(standing, rate, count):
        if reports is not None:
            return reports
        report(f"{time.monotonic() - begin:.0f} of {count / rate:.0f} s at {rate:.0f} requests a second")
    raise RuntimeError("the load generator said nothing")


def _compared(rig: Rig, one: RunningScenario, other: RunningScenario, size: Size, report: Report) -> dict[str, Any]:
    """Server CPU in turns: the median of the ratios of neighbouring turns."""
    ratios, ours, theirs = [], [], []
    for number in range(size.turns):
        report(f"turn {number + 1} of {size.turns}")
        ours.append(rig.turn(one, size.turn_seconds).server_cpu)
        theirs.append(rig.turn(other, size.turn_seconds).server_cpu)
        ratios.append(ours[-1] / theirs[-1])
    spread = [round(min(ratios), 3), round(max(ratios), 3)]
    return {
        "ratio": round(median(ratios), 3),
        "ratio_range": spread,
        "cpu_us": round(median(ours)),
        "beside": round(median(theirs)),
    }
