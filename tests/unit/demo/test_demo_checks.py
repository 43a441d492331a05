"""Every check holds over a good run and fails when its fault is planted, and only then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from extproc import headers
from extproc.demo.checks import bounds, verify
from extproc.demo.evidence import Counters, Evidence
from extproc.demo.traffic import SPOOFER, TESTER, UNMATCHED, USER, Answer
from tests.unit.demo.scene import V1, V2, good_run

Fault = Callable[[Evidence], Evidence]


def failing(evidence: Evidence) -> set[str]:
    return {check.name for check in verify(evidence) if not check.ok}


def answers(evidence: Evidence, which: Callable[[Answer], bool], change: Callable[[Answer], Answer]) -> Evidence:
    """``change``s the first answer that is meant."""
    at = next(i for i, a in enumerate(evidence.answers) if which(a))
    changed = [*evidence.answers]
    changed[at] = change(changed[at])
    return replace(evidence, answers=changed)


def told(**changes: str) -> Callable[[Answer], Answer]:
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    return lambda a: replace(a, headers={**a.headers, **named})


def arrived(evidence: Evidence, which: Callable[[Answer], bool], **changes: Any) -> Evidence:
    """Changes what the server received of the first request that is meant."""
    id_ = next(a.request.id for a in evidence.answers if which(a))
    received = [replace(r, **changes) if r.request_id == id_ else r for r in evidence.received]
    return replace(evidence, received=received)


def counted(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, counters=replace(evidence.counters, **changes))


def by(role: str, **ask: str) -> Callable[[Answer], bool]:
    return lambda a: a.request.role == role and all(getattr(a.request, name) == value for name, value in ask.items())


def everyone_on(version: str, pool: str) -> Fault:
    """No user of the chat model is on another version: told consistently, with its pool."""

    def plant(evidence: Evidence) -> Evidence:
        changed = [
            told(x_model_version=version, x_gpu_pool=pool)(a) if a.request.model == V1.model and a.headers else a
            for a in evidence.answers
        ]
        return replace(evidence, answers=changed)

    return plant


def drop(role: str) -> Fault:
    return lambda e: replace(e, answers=[a for a in e.answers if a.request.role != role])


def belief(name: str, value: str) -> dict[str, list[str]]:
    return {
        headers.MODEL_NAME: ["iris"],
        headers.MODEL_VERSION: ["v1"],
        headers.GPU_POOL: ["t4-edge"],
        name: [value],
    }


def first_tokens(factor: float) -> Fault:
    """The processor's times to first token are so many times as long."""
    return lambda e: counted(e, first_tokens={n: (c, factor * s) for n, (c, s) in e.counters.first_tokens.items()})


def on(version: str) -> Callable[[Answer], bool]:
    """A whole answer to an honest user, from this version of the chat model."""
    return lambda a: by(USER, model=V1.model)(a) and a.headers[headers.MODEL_VERSION] == version and not a.first_token


def test_a_good_run_passes() -> None:
    for check in verify(good_run()):
        assert check.ok, f"{check.name}: {check.detail}"


@pytest.mark.parametrize("requests", [1, 20, 100, 3000])
def test_a_good_run_of_another_size_passes(requests: int) -> None:
    assert failing(good_run(requests)) == set()


FAULTS: dict[str, tuple[Fault, str]] = {
    "an error status": (lambda e: answers(e, on("v1"), lambda a: replace(a, status=503)), "no errors"),
    "a broken stream": (lambda e: answers(e, on("v1"), lambda a: replace(a, error="cut")), "no errors"),
    "no canary at all": (everyone_on("v1", "a100-west"), "split as the weights say"),
    "everybody on the canary": (everyone_on("v2", "h100-east"), "split as the weights say"),
    "a user on two versions": (
        lambda e: answers(e, on("v1"), told(x_model_version="v2", x_gpu_pool="h100-east")),
        "sticky users",
    ),
    "a pin ignored": (
        lambda e: answers(e, by(TESTER), told(x_model_version="v1", x_gpu_pool="a100-west")),
        "pinned tester",
    ),
    "a claim believed upstream": (
        lambda e: arrived(e, by(SPOOFER, kind="infer"), routing=belief(headers.MODEL_VERSION, "v2")),
        "false claims",
    ),
    "a claimed endpoint passed on": (
        lambda e: arrived(e, by(SPOOFER, kind="infer"), routing=belief(headers.DESTINATION_ENDPOINT, "127.0.0.1:1")),
        "false claims",
    ),
    "a claim told to the client": (
        lambda e: answers(e, by(SPOOFER, kind="chat"), told(x_gpu_pool="t4-edge")),
        "false claims",
    ),
    "a header missing upstream": (
        lambda e: arrived(e, on("v1"), routing={headers.MODEL_NAME: [V1.model]}),
        "headers upstream",
    ),
    "a header twice upstream": (
        lambda e: arrived(
            e,
            on("v1"),
            routing={
                headers.MODEL_NAME: [V1.model],
                headers.MODEL_VERSION: [V1.version, V1.version],
                headers.GPU_POOL: [V1.pool],
                headers.GPU_ARCHITECTURE: [V1.architecture],
            },
        ),
        "headers upstream",
    ),
    "a request lost": (lambda e: replace(e, received=e.received[1:]), "headers upstream"),
    "a request twice": (lambda e: replace(e, received=[*e.received, e.received[0]]), "headers upstream"),
    "another model's name told": (
        lambda e: answers(e, on("v1"), told(x_model_name="gpt")),
        "headers upstream",
    ),
    "a pool that the policy does not have": (
        lambda e: answers(e, on("v1"), told(x_gpu_pool="b200-moon")),
        "headers upstream",
    ),
    "the other pool's server": (
        lambda e: arrived(e, on("v1"), endpoint=V2.endpoints[0]),
        "GPU pools and rewrites",
    ),
    "the model not rewritten": (lambda e: arrived(e, on("v2"), model=V2.model), "GPU pools and rewrites"),
    "no server-timing": (lambda e: answers(e, on("v1"), told(server_timing="")), "server-timing"),
    "a server-timing without its total": (
        lambda e: answers(e, on("v1"), told(server_timing="route;dur=1, upstream;dur=2")),
        "server-timing",
    ),
    "longer than the client waited": (
        lambda e: answers(e, on("v1"), told(server_timing="route;dur=1, upstream;dur=2, total;dur=9000")),
        "server-timing",
    ),
    "Envoy counts one more": (
        lambda e: counted(e, envoy={**e.counters.envoy, V1.cluster: e.counters.envoy[V1.cluster] + 1}),
        "counters agree",
    ),
    "the processor counts nothing": (lambda e: counted(e, processor={}), "counters agree"),
    "the role taken for the first token": (first_tokens(0.0), "time to first token"),
    "the end taken for the first token": (first_tokens(2.0), "time to first token"),
    "a stream without a first token": (
        lambda e: counted(e, first_tokens={**e.counters.first_tokens, V1.cluster: (1, 0.05)}),
        "time to first token",
    ),
    "a token too many": (
        lambda e: counted(e, tokens={**e.counters.tokens, V1.cluster: (e.counters.tokens[V1.cluster][0], 1)}),
        "tokens",
    ),
    "no tokens at all": (lambda e: counted(e, tokens={}), "tokens"),
    "an unmatched request served": (
        lambda e: answers(e, by(UNMATCHED), lambda a: replace(a, status=200)),
        "models without a policy",
    ),
    "an unmatched request told of a model": (
        lambda e: answers(e, by(UNMATCHED), told(x_model_name="iris")),
        "models without a policy",
    ),
    "an unmatched request routed": (
        lambda e: arrived(e, by(UNMATCHED), routing={headers.GPU_POOL: ["t4-edge"]}),
        "models without a policy",
    ),
    "unmatched requests not counted": (lambda e: counted(e, unmatched=0), "models without a policy"),
    "no tester": (drop(TESTER), "pinned tester"),
    "no spoofer": (drop(SPOOFER), "false claims"),
    "no unmatched request": (drop(UNMATCHED), "models without a policy"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_its_check(fault: str) -> None:
    plant, check = FAULTS[fault]
    found = failing(plant(good_run()))
    assert check in found
    if check in ("no errors", "server-timing", "time to first token", "tokens", "models without a policy"):
        assert found == {check}, "a fault of its own does not look like others"


def test_nothing_at_all_passes_nothing() -> None:
    checks = verify(Evidence((), [], [], Counters()))
    assert checks
    assert not any(check.ok for check in checks)


def test_every_check_has_a_fault() -> None:
    assert {check for _, check in FAULTS.values()} == {check.name for check in verify(good_run())}


def test_bounds_are_exact() -> None:
    # Of 2 fair coins: 0 and 2 heads each have probability 1/4.
    assert bounds(2, 0.5, alpha=0.4) == (0, 2)
    assert bounds(2, 0.5, alpha=0.6) == (1, 1)
    low, high = bounds(150, 0.1)
    assert 0 < low < 15 < high < 33, "about four standard deviations, and never nobody at all"
    assert bounds(10, 0.0) == (0, 0)
    assert bounds(10, 1.0) == (10, 10)
    assert bounds(100_000, 0.1)[0] < 10_000 < bounds(100_000, 0.1)[1]
