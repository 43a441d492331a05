"""Statuses and events as they are written; nothing where nothing changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from extproc.kubernetes.api import ApiFailure, Object
from extproc.kubernetes.cluster_view import ClusterView
from extproc.kubernetes.desired_state import Desired, DesiredState
from extproc.kubernetes.leader import LostLead
from extproc.kubernetes.object_documents import Key, key_of
from extproc.kubernetes.status_writer import StatusWriter
from tests.unit.kubernetes.memory_api import MemoryApi, made
from tests.unit.kubernetes.test_mesh_writer import led, lost

NOW, LATER = "2026-01-02T00:00:00Z", "2026-01-02T00:00:09Z"
CHAT = Key("ModelInferencePolicy", "ai", "chat")
POLICY = made("ModelInferencePolicy", "chat", {"models": ["a"]})
POOL = made("GpuPool", "west", {"product": "NVIDIA-L4"})


def write(
    api: MemoryApi, blocked: dict[Key, str] | None = None, now: str = NOW, check: Callable[[], None] = led
) -> bool:
    kinds = ("ModelInferencePolicy", "GpuPool")
    objects: dict[Key, Object] = {key_of(o): o for (_, kind, *_), o in api.objects.items() if kind in kinds}
    desired: Desired = DesiredState().take(objects.values(), ClusterView(), without=blocked or ())
    return asyncio.run(StatusWriter("ai/controller").write(api, desired, objects, blocked or {}, now, check))  # type: ignore[arg-type]


def conditions(api: MemoryApi, kind: str = "ModelInferencePolicy", name: str = "chat") -> dict[str, tuple[Any, ...]]:
    found = api.find(kind, name)["status"]["conditions"]
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in found}


def test_what_is_in_force_is_told_once() -> None:
    api = MemoryApi(POLICY, POOL)
    assert write(api)
    assert conditions(api)["Programmed"] == ("True", "Programmed", "")
    assert conditions(api)["ResolvedRefs"][:2] == ("False", "ServiceNotFound")
    assert api.find("ModelInferencePolicy", "chat")["status"]["inForce"] == {"generation": 1, "spec": {"models": ["a"]}}
    assert api.find("GpuPool", "west")["status"]["architecture"] == "l4"
    assert {one["status"]["controller"] for one in api.objects.values() if "status" in one} == {"ai/controller"}
    assert [kind for what, kind, _ in api.writes if what == "replace status"] == ["GpuPool", "ModelInferencePolicy"]
    before = list(api.writes)
    assert not write(api, now=LATER)
    assert api.writes == before


def test_an_event_tells_each_condition_that_changed_and_what_is_wrong_from_the_start() -> None:
    api = MemoryApi(POLICY)
    write(api)
    events = [one for (_, kind, *_), one in api.objects.items() if kind == "Event"]
    told = sorted((e["action"], e["type"], e["reason"], e["regarding"]["name"]) for e in events)
    assert told == [
        ("Programmed", "Normal", "Programmed", "chat"),
        ("ResolvedRefs", "Warning", "ServiceNotFound", "chat"),
    ]
    api.put({**api.find("ModelInferencePolicy", "chat"), "spec": {"models": ["a"], "port": 0}})
    assert not write(api)
    assert len([1 for kind in api.kinds() if kind == "Event"]) == 4
    assert conditions(api)["Accepted"][1] == "Invalid"
    assert conditions(api)["Programmed"] == ("False", "NotAccepted", "what was in force stays")


def test_a_policy_that_can_not_be_carried_out() -> None:
    api = MemoryApi(POLICY)
    assert not write(api, {CHAT: "VirtualService ai/x: 422: no"})
    told = "VirtualService ai/x: 422: no; nothing of it is in force"
    assert conditions(api)["Programmed"] == ("False", "NotWritten", told)
    assert "inForce" not in api.find("ModelInferencePolicy", "chat")["status"]


def test_an_object_that_changes_meanwhile_breaks_the_pass_off() -> None:
    api = MemoryApi(POLICY)
    real = api.replace

    async def replace(*arguments: Any) -> Object:
        api.put({**api.find("ModelInferencePolicy", "chat"), "spec": {"models": ["b"]}})
        return await real(*arguments)

    api.replace = replace  # type: ignore[method-assign,assignment]
    with pytest.raises(ApiFailure, match="ModelInferencePolicy ai/chat changed while its status was written"):
        write(api)


def test_events_that_can_not_be_written_are_no_failure() -> None:
    api = MemoryApi(POLICY)

    async def create(*_: Any) -> Object:
        raise ApiFailure("403: no", 403)

    api.create = create  # type: ignore[method-assign,assignment]
    assert write(api)


def test_who_has_lost_the_lead_writes_no_status() -> None:
    api = MemoryApi(POLICY)
    with pytest.raises(LostLead):
        write(api, check=lost)
    assert api.writes == []
