"""`make test-kubernetes`: a real etcd, kube-apiserver and istiod in a network namespace of their own, and the tests.

The namespaces of processes and mounts are of their own as well: whatever was started ends with the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.house.tree import ROOT
from tests.kubernetes.binaries import CannotBuild, build

NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


def main() -> int:
    """The status of the tests. 0 also where they can't run: the line says why."""
    try:
        build()
    except CannotBuild as error:
        print(f"tests/kubernetes did not run: {error}")
        return 0
    unshare = ["unshare", *(() if os.getuid() == 0 else ("--map-root-user",)), *NAMESPACES]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        print(f"tests/kubernetes did not run: no namespaces without root: {tried.stderr.strip()}")
        return 0
    named = any(argument.startswith("tests/") for argument in sys.argv[1:])
    command = [sys.executable, "-m", "pytest", *sys.argv[1:], *(() if named else ("tests/kubernetes",))]
    environment = os.environ | {"EXTPROC_TEST_KUBERNETES": "1"}
    return subprocess.run([*unshare, *command], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
