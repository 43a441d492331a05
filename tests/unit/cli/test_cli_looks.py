"""What is printed of one look, and of one after the other."""

from __future__ import annotations

import json

import pytest

from extproc.cli.looks import Look, print_looks


def test_one_look(capsys: pytest.CaptureFixture[str]) -> None:
    look = Look(("h:1 does not answer",), {"rows": [1]}, "for people")
    assert print_looks(lambda: look, as_json=False, watch=False) == 0
    assert capsys.readouterr() == ("for people\n", "extproc: h:1 does not answer\n")
    assert print_looks(lambda: look, as_json=True, watch=False) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": [1]}


def test_a_problem_is_told_when_it_comes_and_comes_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([("a",), ("a", "b"), (), ("a",)])
    pauses: list[float] = []
    monkeypatch.setattr("extproc.cli.looks.time.sleep", pauses.append)
    with pytest.raises(StopIteration):
        print_looks(lambda: Look(next(looks), {}, "shown"), as_json=False, watch=True)
    printed = capsys.readouterr()
    assert printed.out == "shown\n" * 4
    assert printed.err.split("\n") == ["extproc: a", "extproc: b", "extproc: a", ""]
    assert pauses == [2.0] * 4
