"""`extproc demo-model`: its flags."""

from __future__ import annotations

import pytest

from extproc.cli.main import main
from extproc.demo import toy_engine, toy_model
from tests.unit.cli.command_lines import flags, help_of, refused

BAD = ("--fail-ratio", "0.5", "--delay", "1.5", "--empty", "--slots", "2")


def test_defaults() -> None:
    assert flags("demo-model") == {
        "port": 9001,
        "version": "v1",
        "model": None,
        "fail_ratio": 0.0,
        "delay": 0.0,
        "slots": toy_engine.SLOTS,
        "empty": False,
    }


def test_flags_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def recorded(*told: object) -> int:
        calls.append(told)
        return 0

    monkeypatch.setattr(toy_model, "serve", recorded)
    assert main(["demo-model", "--port", "0", "--version", "v2", "--model", "a", "--model", "b", *BAD]) == 0
    assert main(["demo-model"]) == 0
    assert calls == [
        (0, "v2", ["a", "b"], toy_model.Faults(0.5, 1.5, empty=True), 2),
        (9001, "v1", ["llama-3-8b"], toy_model.Faults(), toy_engine.SLOTS),
    ]


def test_help_tells_how_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(help_of(capsys, "demo-model").split())
    known = toy_engine.BLOCKS * toy_engine.BLOCK >> 10
    assert f"{toy_engine.READ_RATE:,.0f} bytes of prompt a second" in said
    assert f"The last {known} KiB of prompts" in said
    assert f"blocks of {toy_engine.BLOCK} bytes ({toy_engine.BLOCK_TOKENS} tokens)" in said


@pytest.mark.parametrize("port", ["x", "-1", "65536"])
def test_no_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "port" in refused(capsys, "demo-model", "--port", port)


@pytest.mark.parametrize(
    ("flag", "value"), [("--fail-ratio", "1.1"), ("--fail-ratio", "x"), ("--delay", "nan"), ("--slots", "0")]
)
def test_no_such_server(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert flag in refused(capsys, "demo-model", flag, value)
