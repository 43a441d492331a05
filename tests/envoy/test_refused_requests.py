"""What the processor has refused, as Envoy's access log tells it: by its reason, and none of what servers refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from extproc.exchange.notes import RequestAccount
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import OTHER, GpuPool, Policy, Snapshot, Version
from extproc.telemetry.golden_metrics import Counts, compute_golden_metrics
from extproc.telemetry.tap import OpenTaps
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor, say
from .test_adaptive_breakers import asking, held, in_flight

pytestmark = pytest.mark.envoy


class Accounts(OpenTaps):
    """Counts accounts by model."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.by_model: dict[str, Counts] = {}

    def account(self, account: RequestAccount) -> None:
        self.by_model.setdefault(account.model, Counts()).account(account)
        self.requests += 1


def test_what_is_refused_by_whom(
    servers: Callable[..., list[ModelServer]],
    processor: Callable[..., Processor],
    gateway: Callable[..., Gateway],
) -> None:
    full, busy = servers("full", "busy")
    release = threading.Event()
    full.then, busy.then = held(release), say(b"too many", 429)
    snapshot = Snapshot(
        (
            Policy(
                "full",
                models=("full",),
                versions=(Version("v1", 1, (full.address,), gpu_pools=()),),
                breaker=CircuitBreaker(1, 1),
            ),
            Policy("busy", models=("busy",), versions=(Version("v1", 1, (busy.address,), gpu_pools=()),)),
            Policy("large", models=("large",), gpu=Requirement(memory=1 << 20)),
        ),
        (GpuPool("small", Gpu(architecture="a100", memory=40960)),),
    )
    running = processor(snapshot)
    taps = running.taps = Accounts()
    envoy = gateway(snapshot, running.address, message_timeout=20)
    with asking(envoy, 1, model="full") as answered:
        until(lambda: in_flight(running) == {("full", "v1", ""): 1})
        statuses = [envoy.ask(model).status for model in ("full", "full", "busy", "large")]
        statuses.append(envoy.post(b'{"model": "busy", "model": "full"}').status)
        release.set()
    assert [answer.status for answer in answered] == [200]
    assert statuses == [429, 429, 429, 503, 400]
    until(lambda: taps.requests == 6)
    found = {model: compute_golden_metrics(counts, 1.0) for model, counts in taps.by_model.items()}
    assert (found["full"].requests, found["full"].refusals, found["full"].success) == (3, {"no_room": 2}, 1.0)
    assert found["full"].refused == pytest.approx(2 / 3)
    assert (found["busy"].requests, found["busy"].refused) == (1, 0.0), "its server has refused it"
    # Without a decision it is nobody's, and a body of two models has none that could be told.
    assert (found[OTHER].requests, found[OTHER].refusals) == (2, {"no_gpu_available": 1})
