"""Gauges of rollouts as Prometheus gets them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from extproc.telemetry.rollout_gauges import RolloutGauges


def exposed(*rollouts: dict[str, object]) -> list[str]:
    registry = CollectorRegistry()
    registry.register(RolloutGauges(rollouts))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_nothing_where_nothing_is_rolled_out() -> None:
    assert exposed() == []


def test_the_share_and_the_verdict_of_each_guard() -> None:
    guards = [{"guard": f"g{n}", "verdict": word} for n, word in enumerate(("passing", "waiting", "failing"))]
    rollout = {"policy": "chat", "to": "v2", "phase": "Paused", "percent": 25, "fault": "", "guards": guards}
    assert exposed(rollout) == [
        'inference_rollout_step{policy="chat",version="v2"} 25.0',
        'inference_rollout_verdict{guard="g0",policy="chat",version="v2"} 1.0',
        'inference_rollout_verdict{guard="g1",policy="chat",version="v2"} 0.0',
        'inference_rollout_verdict{guard="g2",policy="chat",version="v2"} -1.0',
        'inference_rollout_phase{phase="Progressing",policy="chat",version="v2"} 0.0',
        'inference_rollout_phase{phase="Paused",policy="chat",version="v2"} 1.0',
        'inference_rollout_phase{phase="RollingBack",policy="chat",version="v2"} 0.0',
        'inference_rollout_phase{phase="Failed",policy="chat",version="v2"} 0.0',
        'inference_rollout_phase{phase="Completed",policy="chat",version="v2"} 0.0',
        'inference_rollout_fault{policy="chat",version="v2"} 0.0',
    ]
    assert exposed({**rollout, "fault": "a bug"})[-1] == 'inference_rollout_fault{policy="chat",version="v2"} 1.0'
