"""A real Prometheus: started on a free port, asked over HTTP, gone afterwards."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from tests.ports import free_port
from tests.waiting import until

Sample = tuple[dict[str, str], float]


class Prometheus:
    """One process; its files are in ``directory``, where there may be blocks of data already."""

    def __init__(self, program: str, directory: Path, config: dict[str, Any] | None = None) -> None:
        file = directory / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config or {}))
        self._address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self._address}"
        self._log = (directory / "prometheus.log").open("wb")
        options = ["--web.listen-address", self._address, "--storage.tsdb.path", str(directory / "data")]
        options += ["--storage.tsdb.retention.time", "50y"]
        command = [program, "--config.file", str(file), *options]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def __enter__(self) -> Self:
        until(self._ready)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def query(self, expr: str, time: float | None = None) -> list[Sample]:
        """The instant vector that ``expr`` gives at ``time`` (Unix seconds; now): labels and value of each series."""
        when = {} if time is None else {"time": str(time)}
        found = self._get("/api/v1/query", {"query": expr, **when})["data"]
        assert found["resultType"] == "vector", found
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def names(self) -> set[str]:
        """Every metric that there is."""
        return set(self._get("/api/v1/label/__name__/values", {})["data"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, as Prometheus has it: with its health and its last error."""
        groups = self._get("/api/v1/rules", {})["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        status, body = self._ask(f"{path}?{urlencode(parameters)}")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def _ask(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _ready(self) -> bool:
        assert self._process.poll() is None, "Prometheus ended"
        try:
            return self._ask("/-/ready")[0] == 200
        except ConnectionError:
            return False
