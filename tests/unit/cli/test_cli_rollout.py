"""`extproc rollout`: the table and JSON of where rollouts are, and commands to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli.main import main
from extproc.policy.rollout_plan import COMPLETED, PROGRESSING, Move, RolloutState
from extproc.policyfile.rollout_files import RolloutFiles
from extproc.rollout.evidence import GuardRecord, Look, StepEvidence, VersionEvidence
from tests.policy_documents import file as documents
from tests.policy_documents import policy
from tests.unit.cli.command_lines import flags, help_of

SPEC = """\
models: [{name}]
versions: [{{name: v1, weight: 3}}, {{name: v2, weight: 0}}]
rollout: {{to: v2, guards: [{{metric: errors, max: 1%}}]}}
"""
STATE = RolloutState("chat", "v2", PROGRESSING, 25, 100.5, "", (Move(100.5, PROGRESSING, 25, "every guard held"),))
STEP = StepEvidence(
    "chat",
    100.5,
    42.0,
    {"v2": VersionEvidence(7, 1, 7)},
    [GuardRecord("errors ≤ 1%", "waiting", "7 of 200 requests", 0.14, looks=[Look(101.0, 0.14)])],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(policy(SPEC.format(name="a")))
    files = RolloutFiles([path])
    files.write([STATE])
    files.write_evidence([STEP])
    return path


def test_flags() -> None:
    assert flags("rollout", "status", "-f", "p") == {
        "action": "status",
        "file": [Path("p")],
        "json": False,
        "kubernetes": False,
        "namespace": "",
        "watch": False,
    }
    given = {"action": "abort", "file": None, "kubernetes": True, "namespace": "ai", "policy": "chat"}
    assert flags("rollout", "abort", "--kubernetes", "--namespace", "ai", "chat") == given


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc rollout abort -f policy.yaml chat" in help_of(capsys, "rollout")


def test_a_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", "-f", str(path)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "chat to v2: Progressing, 25 % (v1 75.00 %, v2 25.00 %)",
        "measured 42 of 300 s; requests: 7 of v2",
        "7 of 200 requests",
        "every guard held",
    ):
        assert words in shown


def test_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", "-f", str(path), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["policy"], shown["phase"], shown["percent"], shown["measured"]) == ("chat", "Progressing", 25, 42)
    assert shown["guards"] == [
        {
            "guard": "errors ≤ 1%",
            "verdict": "waiting",
            "reason": "7 of 200 requests",
            "value": 0.14,
            "looks": [[101.0, 0.14]],
        }
    ]
    assert shown["moves"] == [{"at": 100.5, "phase": "Progressing", "percent": 25, "reason": "every guard held"}]


def test_without_a_rollout_the_table_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy("{}"))
    assert main(["rollout", "status", "-f", str(path)]) == 0
    assert capsys.readouterr().out == "no policy has a rollout\n"
    assert main(["rollout", "pause", "-f", str(path)]) == 1
    assert "no policy has a rollout" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("actions", "phase", "percent"),
    [
        (["pause"], "Paused", 25),
        (["pause", "resume"], "Progressing", 25),
        (["promote"], "Completed", 100),
        (["abort"], "RollingBack", 0),
    ],
)
def test_commands_change_what_is_in_force(
    path: Path, capsys: pytest.CaptureFixture[str], actions: list[str], phase: str, percent: int
) -> None:
    for action in actions:
        assert main(["rollout", action, "-f", str(path)]) == 0
    (state,) = RolloutFiles([path]).read()
    assert (state.phase, state.percent) == (phase, percent)
    assert f"chat: v2 {phase}, {percent} % of the requests" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resume"], "chat: the rollout is Progressing: it takes pause, promote or abort"),
        (["abort", "other"], "no policy other has a rollout; there is chat"),
        (["abort", "--namespace", "ai"], "--namespace belongs to --kubernetes, which is not given"),
    ],
)
def test_commands_that_do_not_fit(path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["rollout", words[0], "-f", str(path), *words[1:]]) == 1
    assert said in capsys.readouterr().err
    assert RolloutFiles([path]).read() == (STATE,)


def test_one_that_has_not_begun_and_one_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(documents(policy(SPEC.format(name="a"), "one"), policy(SPEC.format(name="b"), "two")))
    assert main(["rollout", "abort", "-f", str(path)]) == 1
    assert "several policies have a rollout; name one of one, two" in capsys.readouterr().err
    assert main(["rollout", "abort", "-f", str(path), "two"]) == 1
    assert "the rollout of two has not begun" in capsys.readouterr().err
    assert main(["rollout", "status", "-f", str(path)]) == 0
    assert capsys.readouterr().out.count("a processor that serves the policy begins it") == 2
    RolloutFiles([path]).state.write_text("{")
    assert main(["rollout", "abort", "-f", str(path), "two"]) == 2  # as with any policy that can't be loaded


def test_a_completed_rollout_tells_what_to_write(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the rollout is taken out of the file, and everybody would go back."""
    RolloutFiles([path]).write([RolloutState("chat", "v2", COMPLETED, 100, 100.5)])
    assert main(["rollout", "status", "-f", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "now write v1 weight: 0, v2 weight: 100 into the policy, and remove its rollout" in shown
    assert "measured" not in shown
    assert main(["check", "-f", str(path)]) == 0
    assert "the rollout to v2 is completed, and without it the version would get nothing" in capsys.readouterr().out
    with_rollout = path.read_text()
    path.write_text("".join(line for line in with_rollout.splitlines(True) if "rollout:" not in line))
    assert main(["check", "-f", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "the completed rollout gave the version v2 every request" in shown
    assert "write v1 weight: 0, v2 weight: 100\n" in shown
    path.write_text(path.read_text().replace("weight: 3", "weight: 0").replace("v2, weight: 0", "v2, weight: 100"))
    assert main(["check", "-f", str(path)]) == 0
    assert "every request" not in capsys.readouterr().out
