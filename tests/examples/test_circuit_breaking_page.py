"""What docs/circuit-breaking.md has one try: its policy and its commands, with ports that are free."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.envoy.test_up import Up
from tests.house.tree import ROOT
from tests.ports import free_port
from tests.waiting import until

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH"),
]
_, _, PAGE = (ROOT / "docs" / "circuit-breaking.md").read_text().partition("## Try it\n")
PAGE, _, _ = PAGE.partition("\n## ")


def commands(program: str) -> list[list[str]]:
    """The arguments of the page's commands in terminals of their own."""
    return [shlex.split(line)[1:] for line in re.findall(rf"^    (extproc {program}\b.*)$", PAGE, re.MULTILINE)]


def extproc(*words: str) -> list[str]:
    return [sys.executable, "-m", "extproc", *words]


def test_the_page(tmp_path: Path) -> None:
    (policy,) = re.findall(r"<!-- try -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    with ExitStack() as stack:
        for words in commands("demo-model"):
            at = words.index("--port") + 1
            mine = str(free_port())
            assert policy.count(f":{words[at]}") == 1
            policy = policy.replace(f":{words[at]}", f":{mine}")
            words[at] = mine
            server = stack.enter_context(subprocess.Popen(extproc(*words), stderr=subprocess.DEVNULL))
            stack.callback(server.kill)
            until(partial(_listens, int(mine)), 60)
        (tmp_path / "policy.yaml").write_text(policy)
        assert commands("up") == [["up", "-f", "policy.yaml"]]
        up = Up(tmp_path / "policy.yaml", stack.enter_context(TemporaryDirectory(prefix="up-")))
        stack.callback(up.errors.close)
        stack.callback(up.process.wait)
        stack.callback(up.process.terminate)
        until(up.ready, 60)
        (asked,) = re.findall(r"^(    for i in .*?wait\n)", PAGE, re.DOTALL | re.MULTILINE)
        assert asked.count("127.0.0.1:8080") == 1
        script = asked.replace("127.0.0.1:8080", f"127.0.0.1:{up.port}")
        answered = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, timeout=60)
        (shown,) = re.findall(r"(?:^    [0-9]{3}.*\n){6}", PAGE, re.MULTILINE)
        assert sorted(line.split() for line in answered.stdout.splitlines()) == sorted(
            line.split() for line in shown.splitlines()
        )
        until(lambda: "inference_requests_total" in up.metrics())
        assert commands("stat") == [["stat"]]
        until(lambda: _refused(up) == [["v1", "–"], ["v2", "50.00 %"]])  # noqa: RUF001
    assert _refusals(PAGE) == [["v1", "–"], ["v2", "50.00 %"]]  # noqa: RUF001


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _refused(up: Up) -> list[list[str]]:
    told = subprocess.run(
        extproc("stat", "--from", f"http://127.0.0.1:{up.admin}"), capture_output=True, text=True, check=True
    )
    return _refusals(told.stdout)


def _refusals(text: str) -> list[list[str]]:
    """Version and what was refused, of the table of `stat` in a text."""
    rows = re.findall(r"^ *llama-3-8b +(v[12]) +\S+ +100 % +(\S+(?: %)?) ", text, re.MULTILINE)
    return [list(row) for row in rows]
