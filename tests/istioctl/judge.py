"""istioctl's own judgement of our manifests: `make istioctl` builds it first, where it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT

BUILD = ROOT / "build"
MODULE = "istio.io/istio/istioctl/cmd/istioctl"
VERSIONS = ("1.30.3", "v0.0.0-20260827124520-eed52ebb66ad")
"""Tried in turn. Tags of istio.io/istio have no ``v``: a proxy that does not resolve them still has commits."""
ARTICLE = Path(__file__).with_name("article.yaml")
POLICIES = (Path(__file__).with_name("demo.yaml"), ARTICLE)
SURROUNDINGS = Path(__file__).with_name("surroundings.yaml")
_THAT_IT_IS_ONE = "Prefer other APIs if possible, and exercise extreme caution, especially around upgrades."
"""The end of the warning that every EnvoyFilter gets; `analyze` has it as IST0133."""


class CannotBuild(Exception):  # noqa: N818 - named for what is so
    """There is no istioctl here, and none can be built; the message says why."""


def find() -> str | None:
    """The istioctl of the variable ISTIOCTL, of the PATH, or of an earlier build."""
    built = BUILD / "istioctl"
    return os.environ.get("ISTIOCTL") or shutil.which("istioctl") or (str(built) if built.exists() else None)


def build() -> str:
    """Builds istioctl with go and its module proxy: ten minutes on two cores, 200 MB. Raises ``CannotBuild``."""
    go = shutil.which("go")
    if not go:
        raise CannotBuild("there is no go here to build it; install go, or name an istioctl: ISTIOCTL=/path")
    environment = os.environ | {"GOBIN": str(BUILD), "GOTOOLCHAIN": "local"}
    said = []
    for version in VERSIONS:
        print(f"Building {MODULE}@{version} …", flush=True)
        command = ["nice", go, "install", f"{MODULE}@{version}"]
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            return str(BUILD / "istioctl")
        said.append(done.stderr.strip()[-400:])
    raise CannotBuild("go could not build it: " + "; ".join(said))


def checked_in() -> list[Path]:
    """The manifests below ``istio``."""
    return [path for path in sorted((ROOT / "istio").rglob("*.yaml")) if _for_a_cluster(path)]


def rendered(policy: Path, directory: Path) -> list[Path]:
    """What is rendered of a policy, into ``directory``: one file for each kind of place."""
    found = []
    for place in ("gateway", "sidecar", "inbound", "waypoint"):
        command = [sys.executable, "-m", "extproc", "render", "istio", "-f", str(policy), "--for", place]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        path = directory / f"{policy.stem}-{place}.yaml"
        path.write_text(done.stdout)
        found.append(path)
    return found


def _for_a_cluster(path: Path) -> bool:
    """Whether a file holds what `kubectl apply` takes, unlike values of a chart and a kustomization."""
    return "apiVersion:" in path.read_text() and path.name != "kustomization.yaml"


def judged(istioctl: str, path: Path) -> list[str]:
    """What `istioctl validate` and `istioctl analyze` say against a file; nothing where they are content."""
    validate = [istioctl, "validate", "-f", str(path)]
    analyze = [istioctl, "analyze", "--use-kube=false", "--all-namespaces", "--failure-threshold", "Warning"]
    analyze += ["--suppress", "IST0133=EnvoyFilter *", str(SURROUNDINGS), str(path)]
    said = []
    for command in (validate, analyze):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        # validate ends with 0 where it warns, as of a field of a filter that istiod will drop.
        warnings = [line for line in lines if line.startswith("\t* ") and not line.endswith(_THAT_IT_IS_ONE)]
        if done.returncode or warnings:
            said += [f"istioctl {command[1]}: {line}" for line in (lines if done.returncode else warnings)]
    return said
