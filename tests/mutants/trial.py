"""A copy of the tree in which mistakes are planted and tests are run."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT
from tests.mutants.mistakes import Mistake, tests_of

LONGEST = 120.0
"""Seconds: a mistake that makes a test hang is noticed."""
_CLOCK = itertools.count(2_000_000_000)


class TreeCopy:
    """The files that git knows, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - whichever git there is
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("docs/images"):
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, directory / name)

    def notices(self, mistake: Mistake) -> bool:
        """Whether the module's own tests fail with it."""
        path = self._root / mistake.path
        good = path.read_text()
        path.write_text(mistake.source)
        # A time of its own: bytecode is looked up by time and size, and mistakes are often of one size.
        os.utime(path, (moment := next(_CLOCK), moment))
        try:
            return self._fails(tests_of(mistake.module))
        finally:
            path.write_text(good)
            os.utime(path, (moment := next(_CLOCK), moment))

    def _fails(self, tests: list[str]) -> bool:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *tests]
        paths = os.pathsep.join((str(self._root), str(self._root / "linkerd-adapter")))
        # Without bytecode every trial would compile all that its test imports.
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": ""}
        try:
            return (
                subprocess.run(
                    command,
                    cwd=self._root,
                    env=environment,
                    capture_output=True,
                    timeout=LONGEST,
                ).returncode
                != 0
            )
        except subprocess.TimeoutExpired:
            return True
