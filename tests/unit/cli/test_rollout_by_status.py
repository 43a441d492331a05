"""`extproc rollout --kubernetes`: the table and JSON by statuses, and the annotation that a command is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extproc.cli.main import main
from extproc.kubernetes import api
from extproc.kubernetes.rollout_in_status import command_of, told
from extproc.policy.rollout_plan import PROGRESSING, Move, RolloutState
from extproc.rollout.steps import Verdict
from tests.unit.kubernetes.memory_api import MemoryApi, made
from tests.unit.kubernetes.rolled_out import VERSIONS, rollout

STATE = RolloutState(
    "chat", "v2", PROGRESSING, 25, 100.5, "", (Move(100.5, PROGRESSING, 25, "every guard held at 5 %"),)
)


def policy(name: str, namespace: str = "ai", state: RolloutState | None = None, **spec: Any) -> dict[str, Any]:
    one = made("ModelInferencePolicy", name, {"models": [name], "versions": list(VERSIONS), **spec}, namespace)
    told_rollout = {"rollout": told(state, Verdict("waiting", "7 of 200 requests"))} if state else {}
    return one | {"status": {"inForce": {"generation": 1, "spec": one["spec"]}} | told_rollout}


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryApi:
    found = MemoryApi(
        policy("chat", state=STATE, rollout=rollout()), policy("code", "b", rollout=rollout()), policy("plain")
    )
    monkeypatch.setattr(api, "connect", found.connect)
    return found


def test_the_table(memory: MemoryApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", "--kubernetes"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "chat to v2: Progressing, 25 % (v1 75.00 %, v2 25.00 %",
        "all guards",
        "7 of 200 requests",
        "every guard held at 5 %",
        "code to v2: not begun, 0 %",
    ):
        assert words in shown
    assert "measured" not in shown


def test_json_of_a_namespace(memory: MemoryApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", "--kubernetes", "--namespace", "b", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["policy"], found["phase"], found["guards"], found["measured"]) == ("code", None, [], None)


def test_a_command_is_an_annotation_each_time_another_one(
    memory: MemoryApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[tuple[str, bool]] = []

    async def apply(_: Any, wanted: Any, __: str, *, force: bool) -> Any:
        applied.append((command_of(wanted), force))

    monkeypatch.setattr(memory, "apply", apply)
    for now in (7.0, 8.0):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert main(["rollout", "pause", "--kubernetes", "chat"]) == 0
    assert applied == [("pause/7", True), ("pause/8", True)]
    assert "ai/chat: pause; its controller carries it out" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["abort"], ["abort", "plain"], ["abort", "chat", "--namespace", "b"]])
def test_which_policy_is_to_be_clear(words: list[str], memory: MemoryApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", *words, "--kubernetes"]) != 0
    assert "name it, and its --namespace" in capsys.readouterr().err
    assert memory.writes == []


def test_files_or_a_cluster(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        main(["rollout", "status"])
    with pytest.raises(SystemExit):
        main(["rollout", "status", "-f", "p", "--kubernetes"])
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["rollout", "status", "--kubernetes"]) != 0
    assert "set KUBECONFIG, or run as a pod with a ServiceAccount" in capsys.readouterr().err
