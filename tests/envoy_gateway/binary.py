"""Envoy Gateway's program: found in a cache outside the tree, or built into it from Go's module proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGE = "github.com/envoyproxy/gateway/cmd/envoy-gateway"
VERSION = "v1.9.1"


class CannotBuild(Exception):  # noqa: N818 - named for what is so
    """There is no Envoy Gateway here, and none can be built; the message says why."""


def cache() -> Path:
    """Where `make envoy-gateway` puts it: below the user's cache directory (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aimesh-extproc" / "envoy-gateway"


def find() -> Path | None:
    """The program of an earlier build."""
    built = cache() / "envoy-gateway"
    return built if os.access(built, os.X_OK) else None


def build() -> Path:
    """Builds it: ten minutes to half an hour on two cores. Raises ``CannotBuild``."""
    go = shutil.which("go")
    if not go:
        raise CannotBuild("there is no go here to build it: https://go.dev/dl")
    command = ["nice", "-n", "19", go, "install", "-trimpath", "-ldflags=-s -w", f"{PACKAGE}@{VERSION}"]
    environment = os.environ | {"GOBIN": str(cache()), "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"go could not build {PACKAGE}@{VERSION}: {done.stderr.strip()[-400:]}")
    return cache() / "envoy-gateway"
