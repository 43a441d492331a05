"""The catalogue does what it says, and a flood is told as a line of the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.envoy.codec import PROCESS
from extproc.serve.health import Health
from tests.attack import __main__ as attack
from tests.attack.floods import FLOODS, pieces
from tests.grpc.served import POLICY, Served
from tests.http2.served import Noted, fetched
from tests.http2.served import Served as Connected
from tests.http2.wire import errors


@pytest.mark.parametrize("name", FLOODS)
def test_who_is_ended_for_it(name: str) -> None:
    served = Connected()
    served.service.factories = {path.encode(): factory for path, factory in Health().services().items()} | {
        PROCESS.encode(): lambda send: Noted(send)
    }
    answer = b""
    for piece in pieces(FLOODS[name], 1 << 21):
        served.connection.receive(piece)
        answer += fetched(served.connection)
    farewells = [code for kind, _, code in errors(answer) if kind == "GOAWAY"]
    assert farewells == ([11] if FLOODS[name].ends else [])


def test_a_line_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("WEIGHT", "90"))
    with Served(policy) as server:
        server.ready()
        assert attack.attack("GOAWAY", server, 2, 0.5)
    line = capsys.readouterr().out
    assert "GOAWAY ENHANCE_YOUR_CALM" in line
    assert line.count("|") == attack.HEAD.splitlines()[0].count("|")
