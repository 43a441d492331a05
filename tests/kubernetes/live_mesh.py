"""A whole mesh under load: a real API server and istiod, two Envoys, two processors, clients and model servers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from extproc.kubernetes.change_order import SETTLE
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, delete_live, live
from tests.kubernetes.istiod_watches import wait_for_istiod
from tests.kubernetes.mesh_cluster import (
    HOST,
    INGRESS,
    MODELS,
    POOLS,
    PROCESSOR,
    PROCESSOR_ADDRESSES,
    SERVICES,
    VERSIONS,
)
from tests.kubernetes.mesh_envoys import MeshEnvoy, gateway, sidecar
from tests.kubernetes.mesh_traffic import Answer, MeshTraffic, failed_open, wrong_lines
from tests.kubernetes.processor import ClusterProcessor
from tests.waiting import until

PATIENCE = 180
"""Seconds that a change may take on a busy machine."""
_SERIES = re.compile(r"^inference_requests_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class LiveMesh:
    """Everything but controllers (``controller`` starts one); ends with the context."""

    def __init__(self, control_plane: ControlPlane, place: Path, *flags: str) -> None:
        """``flags``: more of the processors."""
        self.control_plane = control_plane
        self._place = place
        self._flags = flags
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        wait_for_istiod(self.control_plane)
        with self._stack as stack:
            self.processors = [stack.enter_context(self._processor(address)) for address in PROCESSOR_ADDRESSES]
            for processor in self.processors:
                until(processor.ready().is_ready, PATIENCE)
            self.traffic = stack.enter_context(MeshTraffic())
            started = (sidecar(self._place / "sidecar"), gateway(self._place / "gateway"))
            self.envoys: list[MeshEnvoy] = [stack.enter_context(envoy) for envoy in started]
            until(self._answers, PATIENCE, pause=0.1)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self.apply_nothing()
            delete_live(self.control_plane)

    def _processor(self, address: str) -> ClusterProcessor:
        chosen = ("--namespace", MODELS, "--listen", f"{address}:50051", *self._flags)
        return ClusterProcessor(self.control_plane.admin, *chosen)

    def _answers(self) -> bool:
        """Whether istiod's first configuration has come to both Envoys."""
        found = [self.traffic.ask(entrance, "chat").status for entrance in ("sidecar", "gateway")]
        self.traffic.wrong.clear()
        return found == [200, 200]

    def controller(self, *flags: str, settle: float = SETTLE, processor: str = PROCESSOR) -> ControllerProcess:
        """Starts a controller of this mesh. ``processor``: where its proxies find the processors."""
        chosen = ["--for", "gateway", "--gateway", f"{INGRESS}/gateway", "--host", HOST, "--processor", processor]
        chosen += ["--access-log", "aimesh-json", f"--settle={settle:g}", *flags]
        return ControllerProcess(self.control_plane, MODELS, *chosen)

    def apply(self, documents: list[dict[str, Any]]) -> None:
        """As users do."""
        self.control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(documents))

    def delete(self, kind: str, name: str) -> None:
        self.control_plane.kubectl("delete", kind, name, "-n", MODELS)

    def apply_nothing(self) -> None:
        """Deletes all policies and pools."""
        self.control_plane.kubectl("delete", "mip,gpupools", "--all", "-n", MODELS)

    def follows(self, policies: Mapping[str, dict[str, Any]]) -> bool:
        """Whether all these specs, and no others, are in force: by the policies' statuses, and in every processor."""
        listed = json.loads(self.control_plane.kubectl("get", "mip", "-n", MODELS, "-o", "json"))["items"]
        found = {one["metadata"]["name"]: one for one in listed}
        return (
            found.keys() == policies.keys()
            and all(_programmed(found[name]) and _in_force(found[name]) == spec for name, spec in policies.items())
            and all(_served(processor) == _weights(policies) for processor in self.processors)
        )

    def is_empty(self) -> bool:
        """Whether controllers have left nothing."""
        return not live(self.control_plane)

    def counted(self) -> Counter[tuple[str, str]]:
        """Requests by model and version as the processors' metrics say: ``other`` is the model where its policy was
        deleted before the request was accounted for.
        """
        found: Counter[tuple[str, str]] = Counter()
        for processor in self.processors:
            for labels, value in _SERIES.findall(processor.get("/metrics")[1]):
                named = dict(_LABEL.findall(labels))
                assert named["code"] == "200", labels
                found[named["model"].partition("-")[0], named["version"]] += int(float(value))
        return found

    def _check_metrics(self) -> None:
        until(lambda: self.counted().total() >= self.traffic.by_version.total(), PATIENCE, pause=0.2)
        counted, decided = self.counted(), self.traffic.by_version
        for version in VERSIONS:
            missing = [decided[service.name, version] - counted[service.name, version] for service in SERVICES]
            assert min(missing) >= 0, (version, counted, decided)
            assert sum(missing) <= counted["other", version], (version, counted, decided)
        for processor in self.processors:
            assert processor.metric('extproc_errors_total{reason="not_as_decided"}') == 0

    def nothing_is_wrong(self) -> None:
        """No request has failed yet, and none was answered by others than headers say."""
        assert self.traffic.wrong == [], _told(self.traffic.wrong)

    def failed_open(self) -> set[str]:
        """Ids of requests that went undecided since no processor answered within Envoy's message timeout, a second:
        on a busy machine some do.
        """
        return set().union(*(failed_open(envoy.access_log) for envoy in self.envoys))

    def check(self) -> None:
        """Ends the load; nothing failed, and headers, logs and metrics agree with who answered."""
        self.traffic.pause()
        self.nothing_is_wrong()
        self._check_metrics()
        for envoy in self.envoys:
            assert wrong_lines(envoy.access_log) == [], envoy.kind
            assert envoy.rejected() == {}, envoy.said()


def _programmed(policy: Mapping[str, Any]) -> bool:
    generation = policy["metadata"]["generation"]
    found = [c for c in policy.get("status", {}).get("conditions", ()) if c["type"] == "Programmed"]
    return bool(found) and found[0]["status"] == "True" and found[0]["observedGeneration"] == generation


def _in_force(policy: Mapping[str, Any]) -> Any:
    return policy["status"].get("inForce", {}).get("spec")


def _weights(policies: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    return {name: {v["name"]: v["weight"] for v in spec["versions"]} for name, spec in policies.items()}


def _served(processor: ClusterProcessor) -> dict[str, dict[str, int]]:
    policies = processor.config()["policies"]
    return {p["name"]: {v["name"]: v["weight"] for v in p["versions"]} for p in policies}


def _told(wrong: list[Answer]) -> str:
    kinds = Counter(f"{a.entrance} {a.service} {a.status} {a.version}@{a.pool} by {a.by} {a.text[:60]}" for a in wrong)
    first, last = wrong[0].at, wrong[-1].at
    return f"{len(wrong)} from {first:.2f} to {last:.2f}: {kinds.most_common(10)}"


def pool(name: str) -> dict[str, Any]:
    """A GpuPool."""
    return _custom("GpuPool", name, {"product": POOLS[name]})


def policy(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A ModelInferencePolicy."""
    return _custom("ModelInferencePolicy", name, dict(spec))


def _custom(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": MODELS}
    return {"apiVersion": "ai.istio.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
