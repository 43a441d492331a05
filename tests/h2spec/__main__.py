"""`make h2spec`: builds h2spec and holds the engine's HTTP/2 against it. 1 where a case fails that should not."""

from __future__ import annotations

import subprocess
import sys
from threading import Event, Thread

from tests.h2spec.build import CannotBuild, h2spec
from tests.h2spec.echo import EchoEngine

SUITES = ("generic", "http2", "hpack")
PATIENCE = "2"
"""Seconds that a case may take."""


def main() -> int:
    """h2spec's own words, and its status. 0 also where there can be no h2spec: the line says why."""
    try:
        program = h2spec()
    except CannotBuild as error:
        print(f"h2spec did not run: {error}")
        return 0
    engine, started = EchoEngine(), Event()
    thread = Thread(target=engine.run, args=(started.set,))
    thread.start()
    try:
        started.wait()
        command = [program, *SUITES, "--strict", "--port", str(engine.ports[0]), "--timeout", PATIENCE]
        return subprocess.run(command, check=False).returncode
    finally:
        engine.stop(0)
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
