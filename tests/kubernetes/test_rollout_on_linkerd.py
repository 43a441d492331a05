"""A rollout on Linkerd, on a real API server: HTTPRoutes, and the files of the gateway's processors, follow its steps.

Nobody runs the gateway's pods: another processor of the cluster stands for theirs, at an endpoint of the gateway's
Service.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.policyfile import loader
from tests.grpc.exchanges import exchange, tell
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess
from tests.kubernetes.mesh_envoys import add_addresses
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_controller_linkerd import linkerd, live
from tests.kubernetes.test_policies_carried_out import PATIENCE, policy, status
from tests.manifests.crds import needed
from tests.waiting import until

__all__ = ["linkerd"]
pytestmark = [needed, pytest.mark.timeout(300)]
ADDRESS, PORT = "10.77.0.45", 9090


class Gateway:
    """What the controller writes for the policy ``chat`` and the gateway ``gateway``."""

    def __init__(self, control_plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.control_plane, self.namespace, self._folder = control_plane, namespace, folder

    def get(self, *words: str) -> Any:
        return json.loads(self.control_plane.kubectl("get", *words, "-n", self.namespace, "-o", "json"))

    def at(self) -> tuple[str, int]:
        found = status(self.control_plane, self.namespace).get("rollout", {})
        return found.get("state", ""), found.get("step", -1)

    def routed(self) -> dict[str, int]:
        """Shares of requests that have no version, in percent."""
        (route,) = self.get("httproutes")["items"]
        refs = route["spec"]["rules"][-1]["backendRefs"]
        total = sum(ref["weight"] for ref in refs)
        return {ref["name"]: 100 * ref["weight"] // total for ref in refs if ref["weight"]}

    def decided(self) -> dict[str, int]:
        """The same by what processors read in the gateway's ConfigMap; nothing as long as there is none."""
        for found in self.get("configmaps", "--field-selector=metadata.name=gateway-policies")["items"]:
            for name, text in found["data"].items():
                (self._folder / name).write_text(text)
        if not any(self._folder.iterdir()):
            return {}
        (chat,) = loader.load([self._folder]).snapshot.policies
        total = sum(version.weight for version in chat.versions)
        return {f"chat-{v.name}": 100 * v.weight // total for v in chat.versions if v.weight}

    def goes_to(self, state: str, step: int) -> None:
        """Waits until the rollout is there, and everything has its weights."""
        weights = {"chat-v1": 100 - step, "chat-v2": step}
        shares = {name: share for name, share in weights.items() if share}
        try:
            until(lambda: self.at() == (state, step), PATIENCE, pause=0.1)
            until(lambda: (self.routed(), self.decided()) == (shares, shares), PATIENCE, pause=0.2)
        except AssertionError as error:
            raise AssertionError(status(self.control_plane, self.namespace), self.routed()) from error


def test_routes_and_processors_follow_a_rollout(linkerd: ControlPlane, namespace: str, tmp_path: Path) -> None:
    add_addresses(ADDRESS)
    gateway = Gateway(linkerd, namespace, tmp_path)
    flags = ("--mesh", "linkerd", "--gateway-name", f"{namespace}/gateway")
    processor = ClusterProcessor(linkerd.admin, "--namespace", namespace, "--admin", f"{ADDRESS}:{PORT}")
    with processor, ControllerProcess(linkerd, namespace, *flags):
        processor.ready().admin = f"{ADDRESS}:{PORT}"
        labels = {"kubernetes.io/service-name": "gateway"}
        piece: dict[str, Any] = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
        piece |= {"metadata": {"name": "gateway-1", "namespace": namespace, "labels": labels}}
        linkerd.apply(
            piece | {"ports": [{"name": "http-admin", "port": PORT}], "endpoints": [{"addresses": [ADDRESS]}]}
        )
        versions = [{"name": f"v{n}", "weight": w, "endpoints": [f"192.0.2.{n}:80"]} for n, w in ((1, 1), (2, 0))]
        guards = [{"metric": "errors", "max": "5%"}]
        rollout = {"to": "v2", "steps": [10, 50, 100], "interval": "5s", "minRequests": 20, "guards": guards}
        chat = policy(namespace, models=["chat"], host="chat", versions=versions, rollout=rollout)
        linkerd.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))

        def answer(code: str) -> bool:
            return tell(processor.address, *20 * [exchange(code, policy="chat", model="chat", version="v2")])

        gateway.goes_to("Progressing", 10)
        ports = gateway.get("service", "gateway")["spec"]["ports"]
        assert [port["targetPort"] for port in ports if port["name"] == "http-admin"] == ["probes"]
        until(lambda: answer("200") and gateway.at() == ("Progressing", 50), PATIENCE, pause=0.5)
        gateway.goes_to("Progressing", 50)
        until(lambda: answer("503") and gateway.at()[0] in ("RollingBack", "Failed"), PATIENCE, pause=0.5)
        gateway.goes_to("Failed", 0)
        linkerd.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(linkerd), PATIENCE)
