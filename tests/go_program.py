"""Programs that some tests run and Go builds from its module proxy, kept outside the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


class CannotBuild(Exception):  # noqa: N818 - named for what is so
    """There is no such program here, and none can be built; the message says why."""


def cache(name: str) -> Path:
    """The folder of a program, below the user's cache directory (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aimesh-extproc" / name


def built(name: str) -> Path | None:
    """The program of an earlier build; None where there is none."""
    program = cache(name) / name
    return program if os.access(program, os.X_OK) else None


def build(name: str, package: str, without_go: str) -> Path:
    """Builds ``package`` (``path@version``), whose command is called ``name``. Raises ``CannotBuild``; ``without_go``:
    what to do where there is no Go.
    """
    go = shutil.which("go")
    if not go:
        raise CannotBuild(f"there is no go here to build it; {without_go}")
    command = ["nice", go, "install", "-trimpath", "-ldflags=-s -w", package]
    environment = os.environ | {"GOBIN": str(cache(name)), "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"go could not build {package}: {done.stderr.strip()[-400:]}")
    return cache(name) / name
