"""Controllers as processes, and what they write."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from extproc.kubernetes.mesh_objects import APPLIED, LABEL, Doc, Key, controlled, key_of
from extproc.policy.snapshot import Snapshot
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from tests.kubernetes.control_plane import ControlPlane

KINDS = "serviceentries,destinationrules,virtualservices,envoyfilters,telemetries"
SETTLE = 0.3
"""Seconds; nothing follows but the test."""


class ControllerProcess:
    """A process ``extproc controller --mesh istio`` for a namespace, or ``everywhere``; ends with the context."""

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        *flags: str,
        everywhere: bool = False,
        kubeconfig: Path | None = None,
    ) -> None:
        command = [sys.executable, "-m", "extproc", "controller", f"--settle={SETTLE}"]
        command += () if everywhere else ("--namespace", namespace)
        command += ["--for", "sidecar", f"--lease={namespace}/controller", *flags]
        self.log = control_plane.directory / f"controller-{namespace}-{os.urandom(3).hex()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=os.environ | {"KUBECONFIG": str(kubeconfig or control_plane.admin)},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text()

    def identity(self) -> str:
        """By which it holds the Lease; empty before it has."""
        found = re.search(r"(\S+) leads$", self.said(), re.MULTILINE)
        return found[1] if found else ""


def live(control_plane: ControlPlane) -> dict[Key, dict[str, Any]]:
    """The objects that controllers made, of all policies."""
    text = control_plane.kubectl("get", KINDS, "-A", "-l", f"{LABEL}=istio", "-o", "json", "--show-managed-fields")
    return {key_of(one): one for one in json.loads(text)["items"]}


def delete_live(control_plane: ControlPlane) -> None:
    """Deletes them. There are some where a test failed, and they would make the next ones fail."""
    control_plane.kubectl("delete", KINDS, "-A", "-l", f"{LABEL}=istio")


def rendered(snapshot: Snapshot) -> dict[Key, Doc]:
    """What there should be."""
    return controlled(documents(snapshot, IstioOptions(proxies=("sidecar",))), "istio")


def same(found: Mapping[Key, Mapping[str, Any]], wanted: Mapping[Key, Doc]) -> bool:
    """Whether objects are as rendered, in every field of their spec and in their labels."""
    return found.keys() == wanted.keys() and all(
        found[key]["spec"] == doc["spec"]
        and found[key]["metadata"]["labels"] == doc["metadata"]["labels"]
        and found[key]["metadata"]["annotations"][APPLIED] == doc["metadata"]["annotations"][APPLIED]
        for key, doc in wanted.items()
    )


def versions(found: Mapping[Key, Mapping[str, Any]]) -> dict[Key, str]:
    """The resourceVersion of each object."""
    return {key: one["metadata"]["resourceVersion"] for key, one in found.items()}
