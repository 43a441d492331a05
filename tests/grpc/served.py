"""``extproc serve`` as users run it: a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Self

import grpc

from extproc._pb import health_pb2 as pb
from extproc.serve.grpc_health import CHECK
from tests.grpc.running import ENGINE
from tests.waiting import until

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: llama}
spec:
  host: llama
  models: [llama]
  versions:
  - {name: v1, weight: WEIGHT}
  - {name: v2, weight: 10}
"""


def write(path: Path, weight: str) -> None:
    """In one step, as editors and the kubelet do."""
    fresh = path.with_suffix(".new")
    fresh.write_text(POLICY.replace("WEIGHT", weight))
    fresh.replace(path)


_NEVER_SHEDS = """\
import sys
from extproc.cli.main import main
from extproc.serve import servicer
servicer.BUSY_AFTER = servicer.OVERLOADED_AFTER = 60.0
sys.exit(main())
"""


class Served:
    """A running ``extproc serve``; ends with the context."""

    def __init__(
        self,
        policy: Path,
        *options: str,
        listen: str = "127.0.0.1:0",
        admin: str = "127.0.0.1:0",
        sheds: bool = True,
    ) -> None:
        """``sheds``: it stops observing where it can't keep up, as ever; else not even where the machine halts."""
        options = ("--listen", listen, "--admin", admin, *options)
        program = ["-m", "extproc"] if sheds else ["-c", _NEVER_SHEDS]
        self._start(["-f", str(policy), *options], {"TMPDIR": str(policy.parent)}, program)

    def _start(
        self, options: Sequence[str], environment: Mapping[str, str], program: Sequence[str] = ("-m", "extproc")
    ) -> None:
        command = [sys.executable, *program, "serve", "--engine", ENGINE, *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | dict(environment))
        self.lines: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = self.admin = ""

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.lines.extend(lines)  # list.extend takes each line as it comes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(5)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def ready(self) -> Self:
        """Waits for the line that tells the addresses."""
        until(lambda: "serving ext_proc on" in self.log or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        line = next(line for line in self.lines if "serving ext_proc on" in line)
        self.address = line.split(" on ")[1].split(", admin")[0]
        self.admin = "127.0.0.1:" + line.split("admin on port ")[1].strip()
        return self

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.admin, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/config")[1])
        return found

    def metric(self, line: str) -> float:
        """The value of one series, written as Prometheus writes it; 0 where there is none."""
        for found in self.get("/metrics")[1].splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_status(self, seconds: float = 15) -> int:
        return self.process.wait(seconds)

    def health(self) -> int:
        with grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            check = channel.unary_unary(CHECK, response_deserializer=pb.HealthCheckResponse.FromString)
            return int(check(b"", timeout=5).status)


class ServedWorkers(Served):
    """A running supervisor with its workers."""

    def __init__(self, policy: Path, count: int, *options: str, **more: Any) -> None:
        super().__init__(policy, "--workers", str(count), *options, **more)
        self.count = count

    def ready(self) -> ServedWorkers:
        until(lambda: f"{self.count} workers serve on" in self.log or self.process.poll() is not None, 30)
        assert self.process.poll() is None, self.log
        line = next(line for line in self.lines if "workers serve on" in line)
        self.admin = "127.0.0.1:" + line.split("admin on port ")[1].strip()
        return self

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.config()["workers"]
        return found

    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.workers()]

    def all_ready(self) -> bool:
        return all(worker["ready"] for worker in self.workers())
