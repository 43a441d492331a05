"""A copy of the tree in which mistakes are planted and tests are run."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT
from tests.mutants.mistakes import Mistake, tests_of

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
        paths = os.pathsep.join((str(directory), str(directory / "linkerd-adapter")))
        self._runner = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.warm"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """Ends the process that runs tests."""
        self._runner.communicate()

    def notices(self, mistake: Mistake) -> bool:
        """Whether the module's own tests fail with it."""
        path = self._root / mistake.path
        good = path.read_text()
        path.write_text(mistake.source)
        # A time of its own: bytecode is looked up by time and size, and mistakes are often of one size.
        os.utime(path, (moment := next(_CLOCK), moment))
        try:
            return self.fails(mistake.module)
        finally:
            path.write_text(good)
            os.utime(path, (moment := next(_CLOCK), moment))

    def fails(self, module: str) -> bool:
        """Whether the module's own tests fail as the copy is."""
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        arguments = ["-x", "-q", "--no-header", "--timeout=300", *tests_of(module)]
        print(json.dumps(arguments), file=self._runner.stdin, flush=True)
        return int(self._runner.stdout.readline()) != 0
