"""`make jaeger`: builds Jaeger where there is none, for `extproc demo pipeline` and its test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from extproc.demo.pipeline.jaeger import built, find

PACKAGE = "github.com/jaegertracing/jaeger/cmd/jaeger"
VERSION = "v1.76.0"
"""Of the module; the same commit is v2.13.0, which Go's rules for names of modules keep from it."""


class CannotBuild(Exception):  # noqa: N818 - named for what is so
    """There is no Jaeger here, and none can be built; the message says why."""


def build() -> str:
    """Builds it: half an hour on two cores. Raises ``CannotBuild``."""
    go = shutil.which("go")
    if not go:
        raise CannotBuild("there is no go here to build it; install Jaeger 2, or name one: EXTPROC_JAEGER=/path")
    with TemporaryDirectory(prefix="jaeger-") as scratch:
        # Not `go install`: its go.mod has a `replace`, which that refuses.
        _run(Path(scratch), [go, "mod", "init", "built"])
        _run(Path(scratch), [go, "get", f"{PACKAGE}@{VERSION}"])
        _run(Path(scratch), ["nice", go, "build", "-ldflags=-s -w", "-o", str(built()), PACKAGE])
    return str(built())


def _run(folder: Path, command: list[str]) -> None:
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    done = subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-400:]}")


if __name__ == "__main__":
    try:
        print(find() or build())
    except CannotBuild as error:
        print(f"no Jaeger: {error}")
