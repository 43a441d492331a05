"""Load on the core that Envoy runs on: from wrk in a closed loop, or at a fixed rate (``openloop``)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.mesh.slow import GAP


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


class Run(msgspec.Struct, frozen=True):
    """What wrk saw. Times in microseconds."""

    requests: int
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


def run(workload: Workload, lua: Path, port: int, seconds: float, core: int) -> Run:
    """One turn. Raises RuntimeError where the generator does not say what it measured."""
    if workload.rate:
        return _open(workload, port, seconds, core)
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{workload.connections}", f"-d{seconds:g}s", "-s", str(lua)]
    out = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=False)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", out.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk failed:\n{out.stdout}{out.stderr}")
    requests, errors, micros, p50, p99 = map(int, found.groups())
    return Run(requests, errors, micros / 1e6, float(p50), float(p99))


def generator(workload: Workload, addresses: Sequence[str], rate: float, count: int, core: int) -> list[str]:
    """The command of an open loop; it wants the payload on its standard input and prints JSON."""
    command = ["taskset", "-c", str(core), sys.executable, "-m", "benchmarks.mesh.openloop", *addresses]
    for name, value in workload.headers.items():
        command += ["--header", f"{name}: {value}"]
    return [*command, "--path", workload.path, "--rate", str(rate), "--count", str(count)]


def _open(workload: Workload, port: int, seconds: float, core: int) -> Run:
    command = generator(workload, [f"127.0.0.1:{port}"], workload.rate, max(1, int(workload.rate * seconds)), core)
    out = subprocess.run(command, input=workload.payload(), capture_output=True, check=False)
    if out.returncode:
        raise RuntimeError(f"the open loop failed:\n{out.stderr.decode()}")
    found = json.loads(out.stdout)
    (one,) = found["targets"]
    errors = one["requests"] - one["outcomes"].get("200", 0) + found["unanswered"]
    return Run(one["requests"], errors, seconds, 1000 * one["p50"], 1000 * one["p99"])
