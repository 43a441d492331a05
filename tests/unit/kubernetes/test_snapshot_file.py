"""The objects that last served, on disk: written in one step, and read with mistrust."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.kubernetes.snapshot_file import FILE, SnapshotProblem, read, write
from tests.unit.kubernetes.fake_api import made

OBJECTS = [made("GpuPool", "west", {"product": "a100"}), made("ModelInferencePolicy", "chat", {"port": 1})]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for objects in (OBJECTS, OBJECTS[:1], []):
        write(tmp_path, ["b", "a"], objects)
        assert read(tmp_path, ["a", "b"]) == objects
        assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "can't be read"),
        ("{", "can't be read"),
        ("\x00" * 100, "can't be read"),
        ('{"format": 1, "namespaces": []}', "can't be read"),
        ('{"format": 2, "namespaces": [], "objects": []}', "of another version"),
        ('{"format": 1, "namespaces": ["a"], "objects": []}', "of other namespaces"),
        ('{"format": 1, "namespaces": [], "objects": [{}]}', "no object"),
        ('{"format": 1, "namespaces": [], "objects": [{"kind": "GpuPool", "metadata": {}}]}', "no object"),
        (None, "no snapshot in"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: str | None, why: str) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content)
    with pytest.raises(SnapshotProblem, match=why):
        read(tmp_path, [])


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(SnapshotProblem, match="no snapshot can be written"):
        write(tmp_path, [], OBJECTS)
    assert [path.name for path in tmp_path.iterdir()] == [FILE], "nothing half written stays"
    with pytest.raises(SnapshotProblem, match="No such file"):
        write(tmp_path / "gone", [], OBJECTS)
