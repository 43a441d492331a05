"""`make envoy-gateway`: builds Envoy Gateway where it is not there, and runs the tests with it."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.envoy_gateway.binary import build, find
from tests.go_program import CannotBuild
from tests.house.tree import ROOT


def main() -> int:
    """The status of the tests. 0 also where they can't run: the line says why."""
    try:
        print(f"With {find() or build()}", flush=True)
    except CannotBuild as error:
        print(f"tests/envoy_gateway did not run: {error}")
        return 0
    command = [sys.executable, "-m", "pytest", *sys.argv[1:], "tests/envoy_gateway"]
    environment = os.environ | {"EXTPROC_TEST_ENVOY_GATEWAY": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
