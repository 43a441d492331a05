"""The programs of a real control plane: found in a cache outside the tree, or built into it from Go's module proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SOURCES = Path(__file__).with_name("control_plane_build")
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "pilot-discovery": "istio.io/istio/pilot/cmd/pilot-discovery",
    "pilot-agent": "istio.io/istio/pilot/cmd/pilot-agent",
}
"""Program and the package that it is built from."""


class CannotBuild(Exception):  # noqa: N818 - named for what is so
    """A program is neither there nor can it be built; the message says why."""


def cache() -> Path:
    """Where the programs are kept: ``EXTPROC_TEST_CONTROL_PLANE``, else below the user's cache directory (XDG)."""
    named = os.environ.get("EXTPROC_TEST_CONTROL_PLANE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "aimesh-extproc" / "control-plane"


def missing() -> list[str]:
    """The programs that are not in the cache."""
    return [name for name in PACKAGES if not os.access(cache() / name, os.X_OK)]


def build() -> None:
    """Builds what is missing: 18 minutes of CPU for all of it, and 5 GB. Raises ``CannotBuild``."""
    wanted = missing()
    if not wanted:
        return
    go = shutil.which("go")
    if not go:
        raise CannotBuild(
            f"{', '.join(wanted)} not in {cache()}, and there is no go here to build them: https://go.dev/dl"
        )
    cache().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as directory:
        for source in SOURCES.iterdir():
            shutil.copy(source, directory)
        for name in wanted:
            _build_one(go, name, directory)


def _build_one(go: str, name: str, directory: str) -> None:
    print(f"Building {name} from {PACKAGES[name]} …", flush=True)
    started = time.monotonic()
    fresh = cache() / f".{name}"
    command = ["nice", go, "build", "-mod=mod", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", str(fresh)]
    done = subprocess.run(
        [*command, PACKAGES[name]],
        cwd=directory,
        env=os.environ | {"GOTOOLCHAIN": "local"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotBuild(f"go could not build {name}: {done.stderr.strip()[-400:]}")
    fresh.rename(cache() / name)
    print(f"Built {name} in {time.monotonic() - started:.0f} s", flush=True)
