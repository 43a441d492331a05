"""The overload manager: limits of heap and connections, and actions in the order of rising memory use."""

from __future__ import annotations

from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.overload import overload_manager
from tests.unit.render.snapshots import Doc

HEAP = "envoy.resource_monitors.fixed_heap"


def actions() -> dict[str, Doc]:
    found = overload_manager(EnvoyOptions())["actions"]
    return {action["name"].removeprefix("envoy.overload_actions."): action for action in found}


def test_limits() -> None:
    found = overload_manager(EnvoyOptions(heap=123))
    heap, connections = found["resource_monitors"]
    assert (heap["name"], heap["typed_config"]["max_heap_size_bytes"]) == (HEAP, 123)
    assert connections["typed_config"]["max_active_downstream_connections"] == 50_000
    assert found["buffer_factory_config"] == {"minimum_account_to_track_power_of_two": 20}


def test_every_action_goes_by_the_heap() -> None:
    assert [[trigger["name"] for trigger in action["triggers"]] for action in actions().values()] == [[HEAP]] * 4


def test_memory_is_freed_before_requests_are_rejected() -> None:
    starts = []
    for action in actions().values():
        trigger = action["triggers"][0]
        starts.append(
            trigger["threshold"]["value"] if "threshold" in trigger else trigger["scaled"]["scaling_threshold"]
        )
    assert list(actions()) == ["shrink_heap", "reduce_timeouts", "reset_high_memory_stream", "stop_accepting_requests"]
    assert starts == sorted(starts)
    assert starts[-1] == 0.95


def test_idle_timeouts_shrink() -> None:
    found = actions()["reduce_timeouts"]
    assert found["triggers"][0]["scaled"] == {"scaling_threshold": 0.85, "saturation_threshold": 0.95}
    assert {one["timer"] for one in found["typed_config"]["timer_scale_factors"]} == {
        "HTTP_DOWNSTREAM_CONNECTION_IDLE",
        "HTTP_DOWNSTREAM_STREAM_IDLE",
    }
