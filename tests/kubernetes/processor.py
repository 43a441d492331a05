"""``extproc serve --kubernetes`` as a process of its own, with the credentials of a kubeconfig."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.grpc.served import Served


class ClusterProcessor(Served):
    """A processor that watches a cluster; ends with the context."""

    def __init__(self, kubeconfig: Path, *options: str) -> None:
        addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        self._start(["--kubernetes", *addresses, *options], {"KUBECONFIG": str(kubeconfig)})

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
