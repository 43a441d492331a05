"""By a real Envoy: the filters of a rendering tell the processor what it was made from, and it tells us."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.policy.snapshot import Snapshot, Version
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.unit.telemetry.test_rendering_drift import samples
from tests.waiting import until

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Process = Callable[..., Processor]
Run = Callable[[Proxy], Gateway]


@pytest.mark.parametrize("at", ["SIDECAR_OUTBOUND", "GATEWAY"])
def test_a_policy_ahead_of_its_rendering_is_told(at: str, servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process = processor(snapshot)
    process.metrics.set_snapshot(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process, at=at))
    assert envoy.ask("llama", host=mesh.CHAT).text == "v1"
    until(lambda: bool(samples(process.metrics)))
    assert set(samples(process.metrics).values()) == {0}
    process.metrics.set_snapshot(Snapshot((mesh.policy(versions=(Version("v1"), Version("v3"))),)))
    differing = {part for part, differs in samples(process.metrics).items() if differs}
    assert differing == {"versions", "targets"}
