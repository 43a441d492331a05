"""A policy with a rollout on objects in memory, controllers that drive it, and processors as they are told."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

from extproc.kubernetes.allowed_prometheus import AllowedPrometheus
from extproc.kubernetes.api import ApiFailure, Object, Resource
from extproc.kubernetes.cluster_rollouts import ClusterRollouts
from extproc.kubernetes.desired_state import DesiredState
from extproc.kubernetes.leader import LostLead
from extproc.kubernetes.object_documents import key_of, read
from extproc.kubernetes.processors import Processors
from extproc.kubernetes.rollout_in_status import state_of, time_text
from extproc.kubernetes.status_writer import StatusWriter
from extproc.policy.rollout_plan import RolloutPlan, RolloutState
from extproc.policy.snapshot import Policy
from extproc.rollout.evidence import VersionEvidence
from extproc.rollout.steps import next_step
from extproc.telemetry.measured_versions import Measured, ProcessEvidence
from tests.unit.kubernetes.memory_api import MemoryApi, made
from tests.unit.kubernetes.test_desired_state import view

LEASE = "ai/controller"
VERSIONS = ({"name": "v1", "weight": 3}, {"name": "v2", "weight": 0}, {"name": "v3", "weight": 0})


def rollout(to: str = "v2", **more: Any) -> dict[str, Any]:
    guards = [{"metric": "errors", "max": "1%"}]
    return {"to": to, "interval": "1ms", "minRequests": 50, "guards": guards, **more}


class CountingProcessors(Processors):
    """One process; ``heard``: whether it can be; ``another``: whether there is another one, which is silent."""

    def __init__(self) -> None:
        super().__init__([("system", "procs")])
        self.counts = {version["name"]: VersionEvidence() for version in VERSIONS}
        self.heard, self.another = True, False

    def count(self, requests: int, failures: int = 0, version: str = "v2") -> None:
        self.counts[str(version)].add(VersionEvidence(requests, failures, requests))

    async def measure(self) -> Measured:
        counts = {str(name): counts.copy() for name, counts in self.counts.items()}
        told = [ProcessEvidence("p", {"chat": counts, "bad": counts})] if self.heard else []
        silent = "the processor 192.0.2.1:9090 can't be heard: it takes too long"
        return Measured(told, silent if self.another or not self.heard else "")


class WatchedApi(MemoryApi):
    """Holds that each state of the rollout follows from the one before it, and that the weights are those of it."""

    away = False

    async def replace(self, resource: Resource, wanted: Object, subresource: str = "") -> Object:
        if self.away:
            raise ApiFailure("ConnectError")
        before = deepcopy(self.find("ModelInferencePolicy", "chat"))
        written = await super().replace(resource, wanted, subresource)
        hold(before, written)
        return written


def plan_of(one: Object) -> RolloutPlan | None:
    document = read(one).document
    return document.value.rollout if document is not None and isinstance(document.value, Policy) else None


def hold(earlier: Object, later: Object) -> None:
    """Moves are added one by one, each to the next step, to nothing, or by a command."""
    before, after, plan = state_of(earlier), state_of(later), plan_of(later)
    versions = later["status"].get("versions", ())
    if after is None or plan is None:
        assert (after, plan) == (None, None)
        return
    total = sum(version["weight"] for version in versions)
    assert sum(v["weight"] for v in versions if v["name"] == after.to) * 100 == after.percent * total
    if before is None or before.to != after.to:
        assert after.percent in (0, plan.steps[0])
        return
    if after == before:
        return
    kept = before.moves[-9:]
    assert after.moves[:-1] == kept or after.moves == before.moves, "nobody's move is lost, and none is made twice"
    allowed = {before.percent, 0, next_step(plan, before.percent)}
    assert after.percent in allowed or "command" in after.moves[-1].reason, (before, after)


class Cluster:
    """The policy, and what is measured of it."""

    def __init__(self, **spec: Any) -> None:
        self.now = 1_800_000_000.0
        self.processors = CountingProcessors()
        self.api = WatchedApi()
        self.served: tuple[str, ...] = ("v1", "v2", "v3")
        self.apply(**({"rollout": rollout()} | spec))

    def apply(self, versions: Any = VERSIONS, **spec: Any) -> None:
        """The policy's spec from now on."""
        known = [one["metadata"] for (_, kind, *_), one in self.api.objects.items() if kind == "ModelInferencePolicy"]
        annotations = known[0].get("annotations", {}) if known else {}
        wanted = {"models": ["chat"], "host": "chat", "port": 8080, "versions": list(versions), **spec}
        self.api.put(made("ModelInferencePolicy", "chat", wanted, annotations=annotations))

    def annotate(self, value: str | None) -> None:
        one = self.api.find("ModelInferencePolicy", "chat")
        annotations = {} if value is None else {"ai.istio.io/rollout": value}
        self.api.put({**one, "metadata": {**one["metadata"], "annotations": annotations}})

    @property
    def policy(self) -> Object:
        return self.api.find("ModelInferencePolicy", "chat")

    @property
    def state(self) -> RolloutState | None:
        return state_of(self.policy)

    def at(self) -> tuple[str, int] | None:
        return (self.state.phase, self.state.percent) if self.state else None

    def weights(self) -> dict[str, int]:
        return {version["name"]: version["weight"] for version in self.policy["status"]["versions"]}

    def events(self) -> list[tuple[str, str, str]]:
        """Type, reason and note of those about rollouts."""
        found = [one for (_, kind, *_), one in self.api.objects.items() if kind == "Event"]
        return [(one["type"], one["reason"], one["note"]) for one in found if one["action"] == "Rollout"]


class Leader:
    """A controller that believes it leads, with a view of the objects of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.rollouts = ClusterRollouts(cluster.processors, LEASE, AllowedPrometheus(), lambda: cluster.now)
        self.objects: list[Object] = []
        self.leads = True
        self.sync()

    def sync(self) -> None:
        """It hears of all changes."""
        kinds = ("ModelInferencePolicy", "GpuPool")
        self.objects = [deepcopy(one) for (_, kind, *_), one in self.cluster.api.objects.items() if kind in kinds]

    def check(self) -> None:
        if not self.leads:
            raise LostLead("another controller may lead")

    def make_pass(self) -> None:
        """The part of a pass that puts in force what the specs say."""
        objects = {key_of(one): one for one in self.objects}
        cluster, now = self.cluster, time_text(self.cluster.now)
        desired = DesiredState(drives=True).take(objects.values(), view(*cluster.served), now=cluster.now)
        asyncio.run(
            StatusWriter(LEASE).write(cluster.api, desired, objects, {}, f"{now[:19]}Z", self.check)  # type: ignore[arg-type]
        )

    def tick(self, *, away: bool = False) -> bool:
        self.cluster.now += 1.0
        api = self.cluster.api
        ticking = self.rollouts.tick(api.connect, self.objects, self.check, away=away)  # type: ignore[arg-type]
        return asyncio.run(ticking)

    def go_on(self, requests: int = 0, failures: int = 0) -> tuple[str, int] | None:
        """A second passes, in which the new version answers so many requests."""
        self.cluster.processors.count(requests, failures)
        self.sync()
        self.tick()
        return self.cluster.at()


def begun(cluster: Cluster) -> Leader:
    """A leader that has begun the rollout, and has listened once."""
    leader = Leader(cluster)
    leader.make_pass()
    leader.tick()
    return leader
