"""`make dist`: an sdist and, by each Python that is here, a wheel made of it, each tried in an environment of its own.

A wheel without a compiler is made, too. 1 where a wheel is not what it should be.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")
NO_COMPILER = {"CC": "/nonexistent/cc"}
COUNT = "import extproc, pathlib; print(len(list(pathlib.Path(extproc.__file__).parent.rglob('*.so'))))"
"""How many modules of what is installed are compiled."""


def main() -> int:
    """Builds into ``dist``, and prints a line for each wheel."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    sdist = _make_sdist(dist)
    print(f"Made {sdist.relative_to(ROOT)}")
    found = [path for name in PYTHONS if (path := shutil.which(name)) and _answers(path)]
    if not found:
        print(f"There is none of {', '.join(PYTHONS)}.", file=sys.stderr)
        return 1
    problems = [problem for path in found if (problem := _try(path, sdist, dist, {}))]
    problems += [problem for path in found[:1] if (problem := _try(path, sdist, dist, NO_COMPILER))]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _make_sdist(dist: Path) -> Path:
    _run([sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(dist)], ROOT)
    (made,) = dist.glob("*.tar.gz")
    return made


def _answers(python: str) -> bool:
    """Whether it runs: pyenv has programs for Pythons that are not chosen."""
    return subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0


def _try(python: str, sdist: Path, dist: Path, environment: Mapping[str, str]) -> str:
    """What is wrong with the wheel that ``python`` makes of ``sdist``; empty if nothing is."""
    with TemporaryDirectory(prefix="dist-") as name:
        directory = Path(name)
        own = _environment(python, directory)
        pip = [own, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        print(f"Making a wheel with {Path(python).name}{' and no compiler' if environment else ''} …", flush=True)
        wheels = directory / "wheels"
        _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(sdist)], directory, environment)
        (wheel,) = wheels.iterdir()
        if wheel.name.endswith("-py3-none-any.whl") != bool(environment):
            return f"{wheel.name}, made by {python}, has the wrong tag"
        _run([*pip, "install", f"{wheel}[gateway]"], directory)
        compiled = int(_run([own, "-c", COUNT], directory))
        if bool(compiled) == bool(environment):
            return f"{wheel.name}, made by {python}, has {compiled} compiled modules"
        report = json.loads(
            _run([str(Path(own).with_name("extproc")), "demo", "--requests", "60", "--json"], directory)
        )
        if not report["ok"]:
            return f"{wheel.name}, made by {python}: the demo failed: {report['checks']}"
        shutil.copy(wheel, dist)
        print(f"Made {(dist / wheel.name).relative_to(ROOT)}: {compiled} compiled modules, the demo is right")
    return ""


def _environment(python: str, directory: Path) -> str:
    """The Python of a new virtual environment."""
    _run([python, "-m", "venv", str(directory / "venv")], directory)
    return str(directory / "venv" / "bin" / "python")


def _run(command: list[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
    """What it prints. What it says otherwise is passed on; a failure ends all."""
    # Without what would lead to this tree or to another environment.
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=directory, env={**inherited, **(environment or {})}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
