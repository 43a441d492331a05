"""``linkerd-adapter lint``: files in, findings printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from extproc.lint import findings
from extproc.policyfile import loader
from linkerd_adapter.lint import lint
from linkerd_adapter.lint.objects import UNREADABLE, Given

STDIN = "-"


def run(paths: Sequence[Path], as_json: bool) -> int:
    """Prints every finding to stdout. The exit status: 1 where there is an error, warnings are none."""
    files = loader.read([path for path in paths if str(path) != STDIN])
    sources = list(files.texts)
    unreadable = [findings.of_problem(problem, UNREADABLE.code) for problem in files.problems]
    if any(str(path) == STDIN for path in paths):
        read = sys.stdin.buffer.read(loader.MAX_SIZE + 1)
        if len(read) > loader.MAX_SIZE:
            message = f"more than {loader.MAX_SIZE >> 20} MiB"
            unreadable.append(UNREADABLE.at("<stdin>", 0, message=message, remedy="ask for one namespace at a time"))
        elif not read.strip():
            remedy = "see what the command before it says"
            unreadable.append(UNREADABLE.at("<stdin>", 0, message="nothing came", remedy=remedy))
        else:
            sources.append(("<stdin>", read.decode(errors="replace")))
    found, given = lint(sources)
    found = [*unreadable, *found]
    seen = _seen(given)
    if as_json:
        sys.stdout.write(findings.report(found, seen=seen))
    else:
        sys.stdout.write(findings.text(found, ", ".join(f"{what}: {number}" for what, number in seen.items())))
    return int(findings.failed(found))


def _seen(given: Given) -> dict[str, int]:
    """How many of each there were; a route of a Gateway is no route of a Service."""
    return {
        "routes of Services": len(given.routes),
        "other routes": len(given.all_routes) - len(given.routes),
        "Services": len(given.services),
        "other objects": len(given.resources) - len(given.all_routes) - len(given.services),
    }
