"""Events about policies: what they say, and that nothing fails where they can't be written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from extproc.kubernetes.api import ApiFailure, Object
from extproc.kubernetes.object_events import Event, move_event, write_event
from extproc.policy.rollout_plan import Move, Phase, RolloutState
from tests.unit.kubernetes.memory_api import MemoryApi, made

AT = "2026-01-02T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("phase", "warning"),
    [("Progressing", False), ("Paused", False), ("Completed", False), ("RollingBack", True), ("Failed", True)],
)
def test_a_move_is_told_with_its_reason(phase: Phase, warning: bool) -> None:
    state = RolloutState("chat", "v2", phase, 25, 9.0, "", (Move(9.0, phase, 25, "so it was"),))
    assert move_event(state) == Event(f"Rollout{phase}", "Rollout", "v2 25%: so it was", warning)
    assert move_event(state, "clean up").note == "v2 25%: so it was; clean up"


def test_an_event_is_about_its_object_and_no_longer_than_may_be() -> None:
    api, chat = MemoryApi(), MemoryApi().put(made("ModelInferencePolicy", "chat", {}))
    asyncio.run(write_event(api, chat, Event("Reason", "Action", "x" * 9999, warning=True), AT))  # type: ignore[arg-type]
    ((_, kind, namespace, name),) = api.objects
    assert (kind, namespace, name.partition(".")[0]) == ("Event", "ai", "chat")
    one = api.find("Event", name)
    assert (one["type"], one["reason"], one["action"], len(one["note"])) == ("Warning", "Reason", "Action", 1024)
    assert (one["regarding"]["uid"], one["eventTime"]) == ("uid-chat", AT)


def test_one_that_can_not_be_written_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    api, chat = MemoryApi(), MemoryApi().put(made("ModelInferencePolicy", "chat", {}))

    async def create(*_: Any) -> Object:
        raise ApiFailure("403: no", 403)

    api.create = create  # type: ignore[method-assign,assignment]
    asyncio.run(write_event(api, chat, Event("Reason", "Action", "", warning=False), AT))  # type: ignore[arg-type]
    assert "an event could not be written: 403: no" in caplog.text
