"""``python -m tests.fuzz``: fuzzes for FUZZ_SECONDS (600), beginning with the corpus; a failing input ends it.

With atheris, where it is installed, guided by coverage; without it by changes of the corpus that hypothesis chooses and
shrinks. What is new goes to ``.fuzz/``. A quarter of the time is given to inputs made to be slow (``slow``), and the
worst of each reader is printed first and kept in ``.fuzz/slow.txt``.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

SECONDS = int(os.environ.get("FUZZ_SECONDS", "600"))
FOUND = Path(".fuzz")


def slow_seconds() -> int:
    """Of all the time."""
    return SECONDS // 4


def slow() -> None:
    """Looks for slow inputs."""
    from tests.fuzz.slow import Search

    random, search = Random(), Search()
    ends = time.monotonic() + slow_seconds()
    while time.monotonic() < ends:
        how = random.randbytes(random.choice((0, 0, 3, 6)))
        search.look(random.getrandbits(32), random.getrandbits(32), random.getrandbits(8), how)
    FOUND.mkdir(exist_ok=True)
    (FOUND / "slow.txt").write_text(search.report() + "\n")
    print(search.report(), flush=True)


def guided(atheris: Any) -> None:
    """By coverage; atheris ends the process."""
    with atheris.instrument_imports(include=["extproc"]):
        target = importlib.import_module("tests.fuzz.target")
    (FOUND / "corpus").mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={SECONDS - slow_seconds()}",
        "-max_len=4096",
        "-timeout=10",
        f"-artifact_prefix={FOUND}/",
    ]
    atheris.Setup([sys.argv[0], *options, f"{FOUND}/corpus", str(target.CORPUS)], target.check)
    atheris.Fuzz()


def unguided() -> None:
    """By hypothesis, in rounds until the time is up."""
    from tests.fuzz.mutations import mutated
    from tests.fuzz.target import CORPUS, check

    files = [file.read_bytes() for file in sorted(CORPUS.iterdir())]
    ends, count = time.monotonic() + SECONDS - slow_seconds(), 0

    @settings(
        max_examples=2000,
        deadline=None,
        database=DirectoryBasedExampleDatabase(FOUND / "examples"),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(files), st.binary(max_size=24))
    def round_(file: bytes, how: bytes) -> None:
        nonlocal count
        count += 1
        check(mutated(file, how))

    while time.monotonic() < ends:
        round_()
        print(f"{count} inputs, {max(0, ends - time.monotonic()):.0f} s to go", flush=True)


if __name__ == "__main__":
    slow()
    atheris = None
    with suppress(ImportError):
        atheris = importlib.import_module("atheris")
    if atheris is not None:
        guided(atheris)
    else:
        unguided()
