"""``extproc serve --kubernetes`` as a process of its own, with the credentials of a kubeconfig."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.grpc.served import Served
from tests.kubernetes.control_plane import API_ADDRESS, ControlPlane
from tests.waiting import until

START = 120
"""Seconds that its start may take beside a control plane on a busy machine."""


class ClusterProcessor(Served):
    """A processor that watches a cluster; ends with the context."""

    def __init__(self, kubeconfig: Path, *options: str) -> None:
        self._start_with({"KUBECONFIG": str(kubeconfig)}, options)

    def _start_with(self, environment: Mapping[str, str], options: Sequence[str]) -> None:
        addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        self._start(["--kubernetes", *addresses, *options], environment)

    def ready(self) -> Self:
        until(lambda: "serving ext_proc on" in self.log or self.process.poll() is not None, START)
        return super().ready()

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def ports(self) -> dict[str, int]:
        """The port of each policy in force: what tests change."""
        return {policy["name"]: policy["port"] for policy in self.config()["policies"]}

    def objects(self) -> dict[str, int]:
        """What became of the cluster's objects."""
        found: dict[str, int] = self.config()["kubernetes"]["objects"]
        return found

    def problems(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.config()["problems"]
        return found


class PodProcessor(ClusterProcessor):
    """The same as a pod has it: the token of its ServiceAccount in the place where the kubelet puts it."""

    PLACE = Path("/run/secrets/kubernetes.io/serviceaccount")

    def __init__(self, control_plane: ControlPlane, namespace: str, *options: str) -> None:
        """Hides ``/run`` of the machine from this mount namespace, which is the tests' own."""
        mount = shutil.which("mount") or "mount"
        subprocess.run([mount, "-t", "tmpfs", "tmpfs", "/run"], check=True)
        self.PLACE.mkdir(parents=True)
        shutil.copy(control_plane.directory / "ca.crt", self.PLACE)
        (self.PLACE / "namespace").write_text(namespace)
        self.give_token("too old")
        os.environ.pop("KUBECONFIG", None)
        self._start_with({"KUBERNETES_SERVICE_HOST": API_ADDRESS, "KUBERNETES_SERVICE_PORT": "6443"}, options)

    def give_token(self, token: str) -> None:
        """As the kubelet does before the old one expires."""
        (self.PLACE / "token").write_text(token)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        subprocess.run([shutil.which("umount") or "umount", "/run"], check=True)
