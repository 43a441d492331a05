"""Load on the core that Envoy runs on: from wrk in a closed loop, or at a fixed rate (``openloop``)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter, sleep
from typing import Any, Literal, TypeAlias

import msgspec

from benchmarks.mesh.slow import GAP

PAUSE = 0.02
"""Seconds from one look at what has been spent to the next."""


class Workload(msgspec.Struct, frozen=True):
    """One kind of request. ``body``: bytes of JSON, 0 for a request whose path tells the model."""

    name: str
    body: int
    connections: int = 0
    """Of a closed loop: each asks again as soon as it has its answer."""
    rate: float = 0
    """Of an open loop: requests a second, whatever comes back."""
    answer: Literal["at once", "whole", "streamed"] = "at once"
    """How the model server answers: at once, ``whole`` after the time of all tokens, or event by event."""
    tokens: int = 0
    """Of the answer; 0: of one that comes at once none, else ``slow.EVENTS``."""
    gap: float = GAP
    """Seconds from one token to the next."""
    seconds: float = 0
    """Length of a turn; 0: as the run has it."""
    lead: float = 0
    """Seconds for which an open loop asks before its turn begins, and is not measured: longer than an answer takes, so
    that as many are under way when the turn begins as when it ends.
    """

    @property
    def headers(self) -> dict[str, str]:
        """Of the request, beside what HTTP itself needs."""
        found = {"content-type": "application/json", "x-user-id": "ann", "x-answer": self.answer}
        return found | ({"x-tokens": str(self.tokens), "x-gap": f"{self.gap:g}"} if self.tokens else {})

    @property
    def path(self) -> str:
        """Of the request."""
        return "/v1/chat/completions" if self.body else "/v2/models/llama-3-8b/infer"

    def payload(self) -> bytes:
        """The request's body."""
        if not self.body:
            return b'{"inputs":[]}'
        stream = b"true" if self.answer == "streamed" else b"false"
        head = b'{"model":"llama-3-8b","stream":%b,"messages":[{"role":"user","content":"' % stream
        return head + b"x" * (self.body - len(head) - 4) + b'"}]}'


Cpu: TypeAlias = Callable[[], Sequence[float]]
"""Seconds of CPU that some processes have spent so far."""


class Run(msgspec.Struct, frozen=True):
    """What the load saw. Times in microseconds."""

    spent: tuple[float, ...]
    """Seconds of CPU that the processes spent in the turn."""
    requests: float
    errors: int
    seconds: float
    p50: float
    p99: float


def available() -> bool:
    """Whether there is a wrk to run."""
    return shutil.which("wrk") is not None


def script(workload: Workload, directory: Path) -> Path:
    """The request as wrk wants it."""
    body = directory / f"{workload.name}.body".replace(" ", "-")
    body.write_bytes(workload.payload())
    path = body.with_suffix(".lua")
    path.write_text(
        "wrk.method = 'POST'\n"
        + "".join(f"wrk.headers['{name}'] = '{value}'\n" for name, value in workload.headers.items())
        + f"wrk.body = io.open('{body}', 'rb'):read('*a')\n"
        f"wrk.path = '{workload.path}'\n"
        "done = function(summary, latency, requests)\n"
        "  local e = summary.errors\n"
        "  io.write(string.format('RESULT %d %d %d %d %d\\n', summary.requests,\n"
        "    e.connect + e.read + e.write + e.status + e.timeout, summary.duration,\n"
        "    latency:percentile(50), latency:percentile(99)))\n"
        "end\n"
    )
    return path


def run(workload: Workload, lua: Path, port: int, seconds: float, core: int, cpu: Cpu) -> Run:
    """One turn. Raises RuntimeError where the generator does not say what it measured."""
    if workload.rate:
        return _open(workload, port, seconds, core, cpu)
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{workload.connections}", f"-d{seconds:g}s", "-s", str(lua)]
    before = cpu()
    out = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=False)
    spent = _difference(before, cpu())
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", out.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk failed:\n{out.stdout}{out.stderr}")
    requests, errors, micros, p50, p99 = map(int, found.groups())
    return Run(spent, requests, errors, micros / 1e6, float(p50), float(p99))


def generator(workload: Workload, addresses: Sequence[str], rate: float, count: int, core: int) -> list[str]:
    """The command of an open loop; it wants the payload on its standard input and prints JSON."""
    command = ["taskset", "-c", str(core), sys.executable, "-m", "benchmarks.mesh.openloop", *addresses]
    for name, value in workload.headers.items():
        command += ["--header", f"{name}: {value}"]
    return [*command, "--path", workload.path, "--rate", str(rate), "--count", str(count)]


def _open(workload: Workload, port: int, seconds: float, core: int, cpu: Cpu) -> Run:
    if not workload.lead:
        before = cpu()
        found = _drive(workload, port, seconds, core, lambda: None)
        spent, requests = _difference(before, cpu()), found["targets"][0]["requests"]
    else:
        samples: list[tuple[float, Sequence[float]]] = []
        whole = workload.lead + seconds + 2 / workload.rate  # until after the turn
        found = _drive(workload, port, whole, core, lambda: samples.append((perf_counter(), cpu())))
        spent = within(samples, found["targets"][0]["begin"] + workload.lead, seconds)
        requests = workload.rate * seconds
    (one,) = found["targets"]
    errors = one["requests"] - one["outcomes"].get("200", 0) + found["unanswered"]
    return Run(spent, requests, errors, seconds, 1000 * one["p50"], 1000 * one["p99"])


def _drive(workload: Workload, port: int, seconds: float, core: int, sample: Callable[[], None]) -> dict[str, Any]:
    """What an open loop saw; ``sample`` is called now and then meanwhile."""
    command = generator(workload, [f"127.0.0.1:{port}"], workload.rate, max(1, int(workload.rate * seconds)), core)
    with TemporaryFile() as payload, TemporaryFile() as out, TemporaryFile() as errors:
        payload.write(workload.payload())
        payload.seek(0)
        with subprocess.Popen(command, stdin=payload, stdout=out, stderr=errors) as child:
            while child.poll() is None:
                sample()
                sleep(PAUSE)
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            raise RuntimeError(f"the open loop failed:\n{errors.read().decode()}")
        found: dict[str, Any] = json.load(out)
    return found


def within(samples: Sequence[tuple[float, Sequence[float]]], begin: float, seconds: float) -> tuple[float, ...]:
    """What was spent from ``begin`` on, for so long. ``samples``: times, and what had been spent by then. Raises
    RuntimeError where they do not reach so far.
    """
    if not samples or not samples[0][0] <= begin <= begin + seconds <= samples[-1][0]:
        raise RuntimeError("the load ended before its turn did")

    def spent(when: float) -> list[float]:
        after = max(1, next(n for n, (time, _) in enumerate(samples) if time >= when))
        (earlier, low), (later, high) = samples[after - 1 : after + 1]
        share = (when - earlier) / (later - earlier)
        return [a + share * (b - a) for a, b in zip(low, high, strict=True)]

    return _difference(spent(begin), spent(begin + seconds))


def _difference(before: Sequence[float], after: Sequence[float]) -> tuple[float, ...]:
    return tuple(b - a for a, b in zip(before, after, strict=True))
