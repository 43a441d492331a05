"""The rendered examples: each says in its first line which command made it. ``python -m tests.istio.rendered`` makes
them anew.
"""

from __future__ import annotations

import shlex
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from extproc.cli.main import main
from tests.house.tree import ROOT

FILES = sorted(path for path in (ROOT / "istio" / "rendered").glob("*.yaml") if ".policy" not in path.name)


def again(path: Path) -> str:
    """What its command gives now."""
    with path.open() as file:
        command = file.readline()
    name, *words = shlex.split(command.removeprefix("# "))
    assert name == "extproc", command
    words = [
        str(ROOT / word) if word.endswith(".policy.yaml") or word == "istio/policy.yaml" else word for word in words
    ]
    found = StringIO()
    with redirect_stdout(found), redirect_stderr(StringIO()):
        assert main(words) == 0
    return command + found.getvalue()


if __name__ == "__main__":
    for each in FILES:
        each.write_text(again(each))
