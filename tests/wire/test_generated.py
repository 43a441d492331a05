"""The checked-in code of extproc/_pb is what protoc makes of protos/."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
CHECKED_IN = ROOT / "extproc" / "_pb"
GENERATOR = re.compile(rb"^# Protobuf Python Version: (\S+)$", re.MULTILINE)


def _sources() -> list[Path]:
    return sorted(PROTOS.rglob("*.proto"))


def _generator(code: bytes) -> str:
    found = GENERATOR.search(code)
    assert found, "generated code names the version of Protobuf that it was made for"
    return found.group(1).decode()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with code generated now, as `make protos` generates it."""
    out = tmp_path_factory.mktemp("generated")
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"--python_out={out}",
        f"--pyi_out={out}",
    ]
    subprocess.run([*command, *map(str, _sources())], check=True)
    return out / "extproc" / "_pb"


@pytest.mark.parametrize("source", _sources(), ids=lambda path: path.name)
@pytest.mark.parametrize("suffix", ["_pb2.py", "_pb2.pyi"])
def test_checked_in_code_is_what_protoc_generates(fresh: Path, source: Path, suffix: str) -> None:
    made_by = _generator((CHECKED_IN / f"{source.stem}_pb2.py").read_bytes())
    installed = _generator((fresh / f"{source.stem}_pb2.py").read_bytes())
    if made_by != installed:
        pytest.skip(f"grpcio-tools here generates for Protobuf {installed}, the repository has {made_by}")
    name = source.stem + suffix
    same = (CHECKED_IN / name).read_bytes() == (fresh / name).read_bytes()
    assert same, f"extproc/_pb/{name} is not what protos/ says: run `make protos`"


def test_nothing_generated_is_left_over() -> None:
    stems = {path.stem for path in _sources()}
    assert stems, "protos/ holds the sources"
    expected = {stem + suffix for stem in stems for suffix in ("_pb2.py", "_pb2.pyi")}
    assert {path.name for path in CHECKED_IN.glob("*_pb2*.py*")} == expected
