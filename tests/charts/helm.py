"""helm: found, or built outside the tree with Go's module proxy (`make helm`)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGE = "helm.sh/helm/v3/cmd/helm"
VERSION = "v3.22.0"


class CannotBuild(Exception):  # noqa: N818 - named for what is so
    """There is no helm here, and none can be built; the message says why."""


def cache() -> Path:
    """Where `make helm` puts it: below the user's cache directory (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aimesh-extproc" / "helm"


def find() -> str | None:
    """The helm of the variable HELM, of the PATH, or of an earlier build."""
    built = cache() / "helm"
    return os.environ.get("HELM") or shutil.which("helm") or (str(built) if built.exists() else None)


def build() -> str:
    """Builds helm: some minutes on two cores. Raises ``CannotBuild``."""
    go = shutil.which("go")
    if not go:
        raise CannotBuild("there is no go here to build it; install helm, or name one: HELM=/path")
    command = ["nice", go, "install", "-ldflags=-s -w", f"{PACKAGE}@{VERSION}"]
    environment = os.environ | {"GOBIN": str(cache()), "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"go could not build {PACKAGE}@{VERSION}: {done.stderr.strip()[-400:]}")
    return str(cache() / "helm")
