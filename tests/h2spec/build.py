"""h2spec, a conformance test of HTTP/2 servers: found, or built with Go."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.house.tree import ROOT

BUILD = ROOT / "build"
MODULE = "github.com/summerwind/h2spec/cmd/h2spec"
VERSION = "v2.2.1+incompatible"
"""The newest that Go's module proxy can give: later tags are of a module that does not name itself by its version."""


class CannotBuild(Exception):  # noqa: N818 - named for what is so
    """There is no h2spec here, and none can be built; the message says why."""


def h2spec() -> str:
    """The program of the variable H2SPEC, of the PATH, of an earlier build, or of a new one. Raises ``CannotBuild``."""
    built = BUILD / "h2spec"
    return os.environ.get("H2SPEC") or shutil.which("h2spec") or (str(built) if built.exists() else _build())


def _build() -> str:
    go = shutil.which("go")
    if not go:
        raise CannotBuild("there is no go here to build it; install go, or name an h2spec: H2SPEC=/path")
    print(f"Building {MODULE}@{VERSION} …", flush=True)
    environment = os.environ | {"GOBIN": str(BUILD), "GOTOOLCHAIN": "local"}
    command = ["nice", go, "install", f"{MODULE}@{VERSION}"]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"go could not build it: {done.stderr.strip()[-400:]}")
    return str(BUILD / "h2spec")
