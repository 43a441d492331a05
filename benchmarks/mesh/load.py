"""Load from wrk, on the core that Envoy runs on: closed loop, as many requests as come back."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec


class Workload(msgspec.Struct, frozen=True):
    """One kind of request. ``body``: bytes of JSON, 0 for a request whose path tells the model."""

    name: str
    body: int
    connections: int

    @property
    def path(self) -> str:
        """Of the request."""
        return "/v1/chat/completions" if self.body else "/v2/models/llama-3-8b/infer"

    def payload(self) -> bytes:
        """The request's body."""
        if not self.body:
            return b'{"inputs":[]}'
        head = b'{"model":"llama-3-8b","stream":false,"messages":[{"role":"user","content":"'
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
        "wrk.headers['content-type'] = 'application/json'\n"
        "wrk.headers['x-user-id'] = 'ann'\n"
        f"wrk.body = io.open('{body}', 'rb'):read('*a')\n"
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
    """One turn. Raises RuntimeError where wrk does not say what it measured."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{workload.connections}", f"-d{seconds:g}s", "-s", str(lua)]
    out = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=False)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", out.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk failed:\n{out.stdout}{out.stderr}")
    requests, errors, micros, p50, p99 = map(int, found.groups())
    return Run(requests, errors, micros / 1e6, float(p50), float(p99))
