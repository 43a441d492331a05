"""The example of picking as its page has it: toy servers, `extproc up`, a server that is killed, too many requests.

``EXTPROC_TEST_COLLECTOR=1`` (`make test-collector`).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.envoy.test_up import Up
from tests.house.tree import ROOT
from tests.ports import free_port
from tests.waiting import until

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(not os.environ.get("EXTPROC_TEST_COLLECTOR"), reason="longer: make test-collector"),
]
FOLDER = ROOT / "examples" / "picking"
ANN = {"content-type": "application/json", "x-user-id": "ann"}


def lines(program: str) -> list[list[str]]:
    """The arguments of the page's commands in terminals of their own."""
    text = (FOLDER / "README.md").read_text()
    return [shlex.split(line)[1:] for line in re.findall(rf"^    (extproc {program} .*)$", text, re.MULTILINE)]


def extproc(*words: str) -> list[str]:
    return [sys.executable, "-m", "extproc", *words]


class Example:
    """It, with ports that are free."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        policy = (FOLDER / "policy.yaml").read_text()
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        for words in lines("demo-model"):
            at = words.index("--port") + 1
            port, mine = words[at], str(free_port())
            assert policy.count(f":{port}") == 1
            policy = policy.replace(f":{port}", f":{mine}")
            words[at] = mine
            server = subprocess.Popen(extproc(*words), stderr=subprocess.DEVNULL)
            stack.callback(server.wait)
            stack.callback(server.kill)
            self.servers[f"127.0.0.1:{mine}"] = server
        (folder / "policy.yaml").write_text(policy)
        (up,) = lines("up")
        assert up == ["up", "-f", "policy.yaml"]
        scratch = stack.enter_context(TemporaryDirectory(prefix="up-"))
        self.up = Up(folder / "policy.yaml", scratch)
        stack.callback(self.up.errors.close)
        stack.callback(self.up.process.wait)
        stack.callback(self.up.process.terminate)
        until(self.up.ready, 60)

    def ask(self, objective: str = "") -> tuple[int, str]:
        """The status, and the version or the error's code."""
        headers = ANN | ({"x-gateway-inference-objective": objective} if objective else {})
        with closing(http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=30)) as connection:
            connection.request("POST", "/v1/chat/completions", (FOLDER / "request.json").read_bytes(), headers)
            answer = connection.getresponse()
            document = json.load(answer)
        if answer.status != 200:
            return answer.status, document["error"]["code"]
        return 200, document["choices"][0]["message"]["content"].split()[0]

    def rows(self) -> dict[str, dict[str, Any]]:
        """By server of v1."""
        command = extproc("stat", "--endpoints", "--json", "--from", f"http://127.0.0.1:{self.up.admin}")
        told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["rows"]
        assert [row["endpoint"] for row in told if row["version"] == "v2"] == list(self.servers)[2:]
        return {row["endpoint"]: row for row in told if row["version"] == "v1"}


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    with ExitStack() as stack:
        yield Example(stack, tmp_path)


def test_the_example(example: Example) -> None:
    until(lambda: all(row["waiting"] == 0 for row in example.rows().values()))
    for _ in range(3):
        assert example.ask() == (200, "[v1]")
    rows = example.rows()
    assert sorted(row["picks"] for row in rows.values()) == [0, 3], "one server knows the prompt"
    (knows,) = (endpoint for endpoint, row in rows.items() if row["picks"])
    (other,) = rows.keys() - {knows}

    example.servers[knows].kill()
    example.servers[knows].wait()
    for _ in range(3):
        assert example.ask() == (200, "[v1]"), "the reply names another one to try"
    until(lambda: example.ask() == (200, "[v1]") and example.rows()[other]["picks"])
    before = example.rows()[knows]["picks"]
    assert {example.ask() for _ in range(3)} == {(200, "[v1]")}
    assert example.rows()[knows]["picks"] <= before

    (words,) = lines("bench")
    words[words.index("http://127.0.0.1:8080")] = f"http://127.0.0.1:{example.up.port}"
    words[words.index("--seconds") + 1] = "6"
    bench = subprocess.Popen(extproc(*words), cwd=FOLDER, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: example.ask("batch") == (429, "saturated"))
        assert example.ask("urgent") == (200, "[v1]")
        until(lambda: example.rows()[other]["queued"])
        said, _ = bench.communicate(timeout=60)
    finally:
        bench.kill()
        bench.wait()
    assert re.search(r"failed: \d+ x 429$", said, re.MULTILINE), said
    assert bench.returncode == 1
