"""The controller's loop on objects in memory: order of writes, refusals, leaders, what a second pass writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.kubernetes import controller as module
from extproc.kubernetes import object_watch
from extproc.kubernetes.allowed_prometheus import AllowedPrometheus
from extproc.kubernetes.api import ApiFailure, Object, Resource
from extproc.kubernetes.cluster_rollouts import ClusterRollouts
from extproc.kubernetes.controller import Controller
from extproc.kubernetes.leader import Election
from extproc.kubernetes.mesh_objects import Doc
from extproc.kubernetes.mesh_writer import ISTIO, MeshWriter
from extproc.kubernetes.outage import Outage
from extproc.kubernetes.ownership import Ownership
from extproc.policy.snapshot import Snapshot
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from tests.unit.kubernetes.memory_api import MemoryApi, made
from tests.unit.kubernetes.rolled_out import VERSIONS, CountingProcessors, rollout

COUNTING = CountingProcessors()
Steps = Callable[[MemoryApi], Awaitable[None]]


def render(snapshot: Snapshot, _: Callable[[], Mapping[str, str]]) -> Sequence[Doc]:
    if any(policy.port == 666 for policy in snapshot.policies):
        raise SetupError("no mesh has the port 666")
    return documents(snapshot, IstioOptions(proxies=("sidecar",)))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Steps], None]:
    """Runs a controller on objects in memory while the steps of a test go on."""

    def running(steps: Steps, settle: float = 0.0) -> None:
        async def both() -> None:
            api = MemoryApi()
            monkeypatch.setattr(module, "connect", api.connect)
            monkeypatch.setattr(object_watch, "connect", api.connect)
            monkeypatch.setattr(module, "DEBOUNCE", 0.0)
            mine = Ownership("ai/controller")
            meshes = [(MeshWriter("istio", mine, ISTIO), render)]
            made_of = Controller(
                meshes,
                Election("me", "ai", "controller"),
                mine,
                rollouts=ClusterRollouts(COUNTING, mine.lease, AllowedPrometheus()),
                settle=settle,
            )
            task = asyncio.create_task(made_of.run())
            await steps(api)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert api.find("Lease", "controller")["spec"]["holderIdentity"] == ""

        asyncio.run(both())

    return running


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def policy(name: str = "chat", **spec: Any) -> dict[str, Any]:
    return made("ModelInferencePolicy", name, {"models": [name], "host": name, **spec})


def programmed(api: MemoryApi, name: str = "chat") -> tuple[str, str]:
    found = api.find("ModelInferencePolicy", name).get("status", {}).get("conditions", ())
    return next(((c["status"], c["message"]) for c in found if c["type"] == "Programmed"), ("", ""))


def kinds_written(api: MemoryApi) -> list[str]:
    return [kind for what, kind, _ in api.writes if what in ("apply", "replace status")]


def test_a_policy_comes_changes_and_goes_in_the_right_order(run: Callable[[Steps], None]) -> None:
    async def steps(api: MemoryApi) -> None:
        api.put(policy(versions=[{"name": "v1"}]))
        await eventually(lambda: programmed(api)[0] == "True")
        kinds = kinds_written(api)
        assert [*kinds[:2], kinds[-1]] == ["DestinationRule", "VirtualService", "ModelInferencePolicy"]
        assert sorted(kinds[2:-1]) == ["EnvoyFilter", "Telemetry"]
        api.writes.clear()
        api.put(policy(versions=[{"name": "v2"}]))
        await eventually(lambda: kinds_written(api).count("DestinationRule") == 2)
        written = kinds_written(api)
        assert written[:2] == ["DestinationRule", "VirtualService"]
        after = written[written.index("ModelInferencePolicy") + 1 :]
        assert (sorted(after[:-1]), after[-1]) == (["EnvoyFilter", "Telemetry", "VirtualService"], "DestinationRule")
        api.remove("ModelInferencePolicy", "chat")
        await eventually(lambda: set(api.kinds()) == {"Event", "Lease"})
        removed = [kind for what, kind, _ in api.writes if what == "delete"]
        assert removed.index("VirtualService") < removed.index("DestinationRule")

    run(steps)


def test_another_pass_writes_nothing(run: Callable[[Steps], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)

    async def steps(api: MemoryApi) -> None:
        api.put(policy())
        await eventually(lambda: programmed(api)[0] == "True")
        before = list(api.writes)
        drifted = next(one for (_, kind, *_), one in api.objects.items() if kind == "VirtualService")
        api.put({**drifted, "spec": {}})
        await eventually(lambda: api.find("VirtualService", drifted["metadata"]["name"])["spec"])
        seen = api.lists
        await eventually(lambda: api.lists > seen + 50)  # some passes more
        assert [w for w in api.writes[len(before) :] if w[1] != "Lease"] == [
            ("apply", "VirtualService", drifted["metadata"]["name"])
        ]

    run(steps)


def test_nothing_is_written_while_others_may_be_without_the_api_server(
    run: Callable[[Steps], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, asked = [0.001], []

    def told(_: Outage, now: float) -> float:
        asked.append(now)
        return rest[0]

    monkeypatch.setattr(Outage, "rest", told)

    async def steps(api: MemoryApi) -> None:
        api.put(policy())
        await eventually(lambda: len(asked) > 50)
        assert {kind for _, kind, _ in api.writes} == {"Lease"}
        rest[0] = 0.0
        await eventually(lambda: programmed(api)[0] == "True")

    run(steps)


def test_a_policy_that_can_not_be_carried_out_hurts_nobody_else(run: Callable[[Steps], None]) -> None:
    async def steps(api: MemoryApi) -> None:
        api.refuse["VirtualService", "aimesh-bad-ai"] = ApiFailure("422: bad route", 422)
        api.put(policy("bad"))
        api.put(policy("worse", port=666))
        api.put(policy())
        await eventually(lambda: programmed(api)[0] == programmed(api, "bad")[0].replace("False", "True") == "True")
        await eventually(lambda: programmed(api, "worse")[0])
        message = "VirtualService ai/aimesh-bad-ai: 422: bad route; nothing of it is in force"
        assert programmed(api, "bad") == ("False", message)
        assert programmed(api, "worse") == ("False", "no mesh has the port 666; nothing of it is in force")
        del api.refuse["VirtualService", "aimesh-bad-ai"]
        api.put(policy("worse", port=667))
        await eventually(lambda: programmed(api, "worse")[0] == programmed(api, "bad")[0] == "True")

    run(steps)


def test_what_goes_with_a_refused_object_is_not_made_in_every_pass(run: Callable[[Steps], None]) -> None:
    def in_force(api: MemoryApi) -> Any:
        return api.find("ModelInferencePolicy", "chat").get("status", {}).get("inForce", {}).get("spec", {}).get("port")

    async def steps(api: MemoryApi) -> None:
        api.refuse["VirtualService", "aimesh-bad-ai"] = ApiFailure("422: bad route", 422)
        api.put(policy("bad", versions=[{"name": "v1"}]))
        await eventually(lambda: programmed(api, "bad")[0] == "False")
        await eventually(lambda: ("delete", "DestinationRule", "aimesh-bad-ai") in api.writes)
        before = [write for write in api.writes if write[2] == "aimesh-bad-ai"]
        for port in (1, 2, 3):
            api.put(policy(port=port))
            await eventually(lambda port=port: in_force(api) == port)  # type: ignore[misc]
        assert [write for write in api.writes if write[2] == "aimesh-bad-ai"] == before
        del api.refuse["VirtualService", "aimesh-bad-ai"]
        api.put(policy(port=4))
        await eventually(lambda: programmed(api, "bad")[0] == "True")

    run(steps)


def test_what_a_pass_wrote_that_was_broken_off_settles_before_the_next_step(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = 0.1
    applied: dict[tuple[str, str], float] = {}
    failures = [ApiFailure("422: no", 422)]

    async def steps(api: MemoryApi) -> None:
        apply = api.apply

        async def timed(resource: Resource, wanted: Object, manager: str, **more: bool) -> Object:
            key = (resource.kind, wanted["metadata"]["name"])
            applied.setdefault(key, time.monotonic())
            if key == ("DestinationRule", "aimesh-bad-ai") and failures:
                raise failures.pop()
            return await apply(resource, wanted, manager, **more)

        monkeypatch.setattr(api, "apply", timed)
        for name in ("chat", "bad"):
            api.put(policy(name, versions=[{"name": "v1"}]))
        await eventually(lambda: programmed(api)[0] == "True")
        subsets, routes = applied["DestinationRule", "aimesh-chat-ai"], applied["VirtualService", "aimesh-chat-ai"]
        assert routes - subsets >= settle

    run(steps, settle)


def test_who_does_not_lead_writes_nothing(run: Callable[[Steps], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.001)

    async def steps(api: MemoryApi) -> None:
        api.put(policy())
        await eventually(lambda: programmed(api)[0] == "True")
        lease = api.find("Lease", "controller")
        api.put({**lease, "spec": {**lease["spec"], "holderIdentity": "another"}})
        before = [w for w in api.writes if w[1] != "Lease"]
        seen = api.gets
        await eventually(lambda: api.gets > seen + 5)
        api.put(policy(port=81))
        seen = api.gets
        await eventually(lambda: api.gets > seen + 50)  # it looked at the Lease so often, and had time to work
        assert [w for w in api.writes if w[1] != "Lease"] == before
        api.put({**lease, "spec": {**lease["spec"], "holderIdentity": ""}})
        await eventually(
            lambda: api.find("ModelInferencePolicy", "chat")["status"]["inForce"]["spec"].get("port") == 81
        )

    run(steps)


def test_a_failure_is_told_once_and_tried_less_and_less_often(
    run: Callable[[Steps], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.004)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(seconds)

    async def steps(api: MemoryApi) -> None:
        get, tries = api.get, 0

        async def away(resource: Resource, namespace: str, name: str) -> Object | None:
            nonlocal tries
            tries += 1
            raise ApiFailure("ConnectError")

        monkeypatch.setattr(api, "get", away)
        monkeypatch.setattr(asyncio, "sleep", slept)
        await eventually(lambda: tries > 5)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        monkeypatch.setattr(api, "get", get)
        await eventually(lambda: "leads" in caplog.text)

    with caplog.at_level("INFO", module.log.name):
        run(steps)
    said = [record.getMessage() for record in caplog.records if "Lease" in record.getMessage()]
    assert said == ["the Lease can't be looked at: ConnectError", "the Lease is looked at again"]
    waits = [seconds for seconds in pauses if seconds in (0.001, 0.002, 0.004)]
    assert 0.002 in waits
    assert waits[-1] == 0.004


def test_rollouts_move_beside_passes_and_the_mesh_follows(
    run: Callable[[Steps], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.01)

    def told(api: MemoryApi) -> dict[str, Any]:
        found: dict[str, Any] = api.find("ModelInferencePolicy", "chat").get("status", {}).get("rollout", {})
        return found

    def weights(api: MemoryApi) -> list[int]:
        found = [one for (_, kind, *_), one in api.objects.items() if kind == "VirtualService"]
        return [split.get("weight", 100) for one in found for split in one["spec"]["http"][-1]["route"]]

    async def steps(api: MemoryApi) -> None:
        api.put(policy(versions=list(VERSIONS), rollout=rollout(steps=[10, 100], interval="1s")))
        await eventually(lambda: told(api).get("step") == 10)
        await eventually(lambda: sorted(weights(api)) == [10, 90] or sorted(weights(api)) == [1, 9])
        before = api.find("ModelInferencePolicy", "chat")["status"]["inForce"]
        await eventually(lambda: "0 requests" in told(api)["message"])
        COUNTING.count(100, 40)
        await eventually(lambda: told(api)["state"] == "RollingBack")
        await eventually(lambda: weights(api) == [100])
        assert api.find("ModelInferencePolicy", "chat")["status"]["inForce"] == before
        api.put(policy(versions=list(VERSIONS)))
        await eventually(lambda: told(api) == {})

    run(steps)
