"""Keys of session tags: one a line, none that could be guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.errors import SetupError
from extproc.policyfile.session_keys import read_session_keys, session_key_of
from extproc.policyfile.watcher import PolicyWatcher

POLICY = "apiVersion: ai.istio.io/v1alpha1\nkind: ModelInferencePolicy\nmetadata: {name: p}\nspec: {}\n"
FIRST, SECOND = "0123456789abcdef" * 2, "fedcba9876543210" * 4


def test_a_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{FIRST}\n\n{SECOND}\n")
    assert read_session_keys(file) == (session_key_of(FIRST.encode()), session_key_of(SECOND.encode()))
    assert len(session_key_of(FIRST.encode())) == 32
    assert read_session_keys(None) == ()


@pytest.mark.parametrize("text", ["", "\n", "short\n", f"{FIRST}\nshort", FIRST * 200])
def test_what_is_no_key_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(SetupError, match=r"keys does not hold session keys.*openssl rand -hex 32"):
        read_session_keys(file)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(SetupError, match="can't be read"):
            read_session_keys(path)


def test_they_are_in_every_snapshot_of_a_watcher(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    watcher = PolicyWatcher([file], session_keys=(b"k",))
    first = watcher.snapshot
    assert watcher.reload()
    assert (first.session_keys, watcher.snapshot.session_keys) == ((b"k",), (b"k",))
