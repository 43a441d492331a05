"""helm: found, or built outside the tree with Go's module proxy (`make helm`)."""

from __future__ import annotations

import os
import shutil

from tests import go_program

PACKAGE = "helm.sh/helm/v3/cmd/helm@v3.22.0"


def find() -> str | None:
    """The helm of the variable HELM, of the PATH, or of an earlier build."""
    built = go_program.built("helm")
    return os.environ.get("HELM") or shutil.which("helm") or (str(built) if built else None)


def build() -> str:
    """Builds helm: some minutes on two cores. Raises ``CannotBuild``."""
    return str(go_program.build("helm", PACKAGE, "install helm, or name one: HELM=/path"))
