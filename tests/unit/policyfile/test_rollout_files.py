"""The files of rollouts: read with the policy, replaced whole, changed by one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from extproc.errors import PolicyProblems
from extproc.policy.rollout_plan import FIRST_TOKEN, PROGRESSING, Move, RolloutState
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import loader
from extproc.policyfile.effective_policy import describe
from extproc.policyfile.rollout_files import RolloutFiles, describe_rollouts
from extproc.policyfile.watcher import PolicyWatcher
from extproc.rollout.evidence import StepEvidence, VersionEvidence
from tests.policy_documents import policy

POLICY = policy(
    """\
    versions: [{name: v1, weight: 3}, {name: v2, weight: 0}]
    rollout: {to: v2, guards: [{metric: errors, max: 1%}]}
    """
)
STATE = RolloutState("chat", "v2", PROGRESSING, 25, 100.5, "", (Move(100.5, PROGRESSING, 25, "held"),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def weights(snapshot: Snapshot) -> dict[str, int]:
    return {version.name: version.weight for version in snapshot.policies[0].versions}


def test_they_stand_beside_the_policy(tmp_path: Path, file: Path) -> None:
    files = RolloutFiles([file, tmp_path / "other.yaml"])
    assert files.read() == ()
    files.write([STATE])
    files.write_evidence([])
    assert {path.name for path in tmp_path.iterdir()} == {
        "policy.yaml",
        "policy.rollouts.json",
        "policy.rollouts.evidence.json",
    }
    assert files.read() == (STATE,)
    assert RolloutFiles([tmp_path]).state == tmp_path / "rollouts.json"


def test_weights_in_force_follow_the_state(file: Path) -> None:
    assert weights(loader.load([file]).snapshot) == {"v1": 1, "v2": 0}
    RolloutFiles([file]).write([STATE])
    snapshot = loader.load([file]).snapshot
    assert weights(snapshot) == {"v1": 3, "v2": 1}
    (described,) = describe(snapshot)["policies"]
    assert [version["share"] for version in described["versions"]] == [0.75, 0.25]
    assert (described["rollout"]["phase"], described["rollout"]["percent"]) == ("Progressing", 25)


def test_a_watcher_follows_what_is_in_force_and_keeps_it_where_the_state_is_broken(file: Path) -> None:
    watcher = PolicyWatcher([file])
    files = RolloutFiles([file])
    files.write([STATE])
    assert watcher.poll()
    assert weights(watcher.snapshot) == {"v1": 3, "v2": 1}
    files.write_evidence([StepEvidence("chat", 100.5)])
    assert not watcher.poll()
    files.state.write_text("{")
    assert watcher.poll()
    assert [problem.file for problem in watcher.problems] == [str(files.state)]
    assert weights(watcher.snapshot) == {"v1": 3, "v2": 1}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"rollouts": [{"policy": "chat"}]}', '{"rollout": []}'],
)
def test_a_state_that_cannot_be_read_is_no_state(file: Path, text: str) -> None:
    """Weights would fall back to those of the file."""
    files = RolloutFiles([file])
    files.state.write_text(text)
    with pytest.raises(PolicyProblems, match="does not tell how far rollouts have come"):
        loader.load([file])
    with pytest.raises(ValueError, match=r".+"):
        files.read()


def test_a_state_that_is_no_file(file: Path) -> None:
    RolloutFiles([file]).state.mkdir()
    with pytest.raises(PolicyProblems, match="cannot be read"):
        loader.load([file])


def test_evidence_of_another_step_is_not_shown(file: Path) -> None:
    files = RolloutFiles([file])
    files.write([STATE])
    measured = VersionEvidence(5)
    measured.note(FIRST_TOKEN, 0.5)
    for since, shown in ((100.5, {"v2": 5}), (99.0, {})):
        files.write_evidence([StepEvidence("chat", since, 3.0, {"v2": measured})])
        (described,) = describe_rollouts(files, loader.load([file]).snapshot)
        assert described["requests"] == shown
        assert described["weights"] == {"v1": 0.75, "v2": 0.25}
        assert described["reason"] == "held"
    assert files.read_evidence() == [StepEvidence("chat", 99.0, 3.0, {"v2": measured})]


def test_evidence_that_cannot_be_read_is_none(file: Path) -> None:
    files = RolloutFiles([file])
    assert files.read_evidence() == []
    (file.parent / "policy.rollouts.evidence.json").write_text("{")
    assert files.read_evidence() == []


def test_one_changes_the_state_at_a_time_and_one_drives(file: Path) -> None:
    files, others = RolloutFiles([file]), RolloutFiles([file])
    entered = threading.Event()

    def change() -> None:
        with others.locked():
            entered.set()

    with files.locked():
        thread = threading.Thread(target=change)
        thread.start()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set()
    driving = files.become_driver()
    assert driving is not None
    assert others.become_driver() is None
    driving.close()
    following = others.become_driver()
    assert following is not None
    following.close()


def test_no_link_that_others_have_made_is_followed(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    for name in (".policy.rollouts.json.new", ".policy.rollouts.evidence.json.new", ".policy.rollouts.lock"):
        (tmp_path / name).symlink_to(other)
    files = RolloutFiles([file])
    with pytest.raises(OSError, match="symbolic links"):
        files.write([STATE])
    with pytest.raises(OSError, match="symbolic links"):
        files.write_evidence([])
    with pytest.raises(OSError, match="symbolic links"), files.locked():
        pass
    assert other.read_text() == "precious"
