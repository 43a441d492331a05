"""``python -m tests.mutants.warm``: runs tests, each time in a process that has imported nothing of ours.

Most of a unit test's time goes into the imports of pytest and of other people's libraries. They are imported once, and
each trial is a fork. A line on stdin is a JSON list of pytest's arguments, a line on stdout the trial's exit status.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import tempfile

import pytest

LONGEST = 30
"""Seconds of a processor: a trial that hangs is ended, and has failed. That a busy machine is slow does not count."""
LIBRARIES = ("hypothesis", "hypothesis.strategies", "msgspec", "numpy", "yaml", "hpack", "hyperframe.frame")
"""What many tests import. As plugins: of another module that is there before it comes, pytest says so in a warning."""


def main() -> int:
    """Until stdin ends."""
    statuses = os.fdopen(os.dup(1), "w")
    _silence(1)
    with tempfile.TemporaryDirectory() as nothing:
        plugins = [argument for library in LIBRARIES for argument in ("-p", library)]
        pytest.main(["--collect-only", "--noconftest", "-c", os.devnull, f"--rootdir={nothing}", *plugins, nothing])
    for line in sys.stdin:
        print(_trial(json.loads(line)), file=statuses, flush=True)
    return 0


def _trial(arguments: list[str]) -> int:
    child = os.fork()
    if not child:
        _silence(2)
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
        random.seed()
        os._exit(pytest.main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _silence(number: int) -> None:
    """What is written to this file descriptor goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
