"""The cases of what follows answers: what a circuit breaker and a rollout add to a request.

Two ways. First a chat and its answer, from the bytes that gRPC gives, past the handler that routes it and the one that
observes it: with and without. The messages of the observer have what the other one wrote. Then the calls alone that a
breaker gets of one request, by a loop in Python whose own cost is measured, too: with calls that do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from time import perf_counter
from typing import Any

import msgspec

from benchmarks import observe
from benchmarks.core import ENTROPY, Case
from benchmarks.measure import Timing
from benchmarks.requests import MODEL, Request, chat, example_snapshot
from extproc._pb import ext_proc_pb2 as pb
from extproc.bodies.request import InferenceRequest
from extproc.exchange.breakers import Breakers, note_end
from extproc.exchange.notes import Observed
from extproc.exchange.sampling import STREAMED
from extproc.grpc_server import Sender
from extproc.headers import Headers
from extproc.policy.breaker import CLOSED
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.rollout_plan import ERRORS, PROGRESSING, Guard, RolloutPlan, RolloutState
from extproc.policy.snapshot import Snapshot
from extproc.serve.servicer import handler_factory
from extproc.telemetry.measured_versions import MeasuredVersions, decode_report
from extproc.telemetry.metrics import Metrics

GROUP = "breaker, rollout"
PLAIN, LIMITED, ROLLED_OUT = "a chat and its answer", "the same, circuit breaker", "the same, rollout"
ALONE, NOBODY = "the breaker's calls alone", "as many that do nothing"
BELOW_US = 2.0
"""What breaker and rollout together may cost a request until it is decided, and the breaker until its end."""
_FIRST = 0.1
"""Seconds to the first token."""


def cases() -> list[Case]:
    """Everything that is compared."""
    plan = RolloutPlan("v2", (Guard(metric=ERRORS, maximum=0.01),))
    state = RolloutState(MODEL, "v2", PROGRESSING, 10, 0.0)
    return [
        Case(GROUP, PLAIN, _whole()),
        Case(GROUP, LIMITED, _whole(breaker=CircuitBreaker())),
        Case(GROUP, ROLLED_OUT, _whole(rollout=plan, rollout_state=state)),
        Case(GROUP, ALONE, _calls(Breakers(perf_counter), note_end)),
        Case(GROUP, NOBODY, _calls(_Nobody(), _note_nothing)),
    ]


def verdicts(timings: Mapping[str, Timing]) -> list[str]:
    """What they add, and whether a breaker costs what it may."""
    alone, harness, plain = (timings[name] for name in (ALONE, NOBODY, PLAIN))
    best, median = alone.best - harness.best, alone.median - harness.median
    met = "met" if median < BELOW_US else "met when undisturbed" if best < BELOW_US else "not met"
    added = ", ".join(
        f"{what} {(timings[name].ratio - 1) * plain.median:+.1f} µs"
        for what, name in (("a circuit breaker", LIMITED), ("a rollout", ROLLED_OUT))
    )
    cost = f"best {best:.2f}, median {median:.2f} µs: {alone.median:.2f} less the benchmark's own {harness.median:.2f}"
    return [
        f"Target, a circuit breaker under {BELOW_US:g} µs a request: {met} ({cost}).",
        f"To a chat and its answer, of {plain.median:.0f} µs: {added}.",
    ]


def _policies(**fields: Any) -> Snapshot:
    """The example's, with these fields, and without sampling: every answer is observed."""
    view = example_snapshot()
    policies = tuple(msgspec.structs.replace(policy, sampling=1.0, **fields) for policy in view.policies)
    return msgspec.structs.replace(view, policies=policies)


def _whole(**fields: Any) -> Callable[[], object]:
    """The next chat and its answer."""
    view, breakers, measured = _policies(**fields), Breakers(perf_counter), MeasuredVersions()
    measured.set_snapshot(view)

    def on_observed(_: Sender, found: Observed) -> None:
        measured.note(found)

    handlers = handler_factory(lambda: view, Metrics(), on_observed=on_observed, breakers=breakers)

    def send(messages: Sequence[bytes]) -> list[bytes]:
        handler, replies = handlers(observe.SENDER), list[bytes]()
        for message in messages:
            replies += handler.receive(message)
        handler.close()
        return replies

    def answered(request: Request) -> tuple[Request, list[bytes]]:
        last = pb.ProcessingResponse.FromString(send(request)[-1])
        fields = last.dynamic_metadata.fields["aimesh"].struct_value.fields
        metadata = {key: value.string_value for key, value in fields.items()}
        return request, observe.messages("openai", metadata, b"data: [DONE]\n\n")

    chats = [answered(chat(4096, user=user)) for user in range(16)]
    following = cycle(chats).__next__

    def run() -> None:
        request, answer = following()
        send(request)
        send(answer)

    for _ in chats:
        run()
    states = {state for _, _, state in breakers.describe(view).values()}
    assert states == ({CLOSED} if view.policies[0].breaker else set())
    (found,) = decode_report(measured.report()).processes
    counted = sum(counts.requests for versions in found.policies.values() for counts in versions.values())
    assert counted == (len(chats) if view.policies[0].rollout else 0)
    return run


def _calls(breakers: Breakers | _Nobody, end: Callable[..., None]) -> Callable[[], object]:
    """What the handlers call of one request: at the decision, and at request, first token and end of the answer."""
    view = _policies(breaker=CircuitBreaker())
    policy = view.policies[0]
    target = view.targets[policy.name, policy.versions[0].name][0]
    metadata = {"policy": policy.name, "version": target.version, "gpu_pool": target.pool, STREAMED: "true"}
    decision = Decision(InferenceRequest("openai", "chat", MODEL), policy, MODEL, target.version, "match", target.pool)
    asked, down = (Headers(), None, ENTROPY), frozenset[str]()
    answer = Observed(MODEL, target.version, target.pool, "openai", "200", 1.0, policy=policy.name, first_token=_FIRST)

    def run() -> None:
        breakers.admit(decision, asked, view, down, False)
        now = perf_counter()
        begun = breakers.begin(view, metadata, now)
        assert begun is not None
        breaker, one = begun
        breaker.first_token(one, _FIRST, now)
        end(breaker, one, answer, now)
        breaker.end(one, now)

    run()
    return run


class _Nobody:
    """In the place of the breakers and of one of them: does nothing."""

    def admit(self, decision: Decision, _asked: object, _snapshot: object, _down: object, _stays: bool) -> object:
        return decision, ()

    def begin(self, _snapshot: object, _metadata: object, _now: float) -> tuple[_Nobody, _Nobody]:
        return self, self

    def first_token(self, _one: object, _seconds: float, _now: float) -> None:
        """Nothing."""

    def end(self, _one: object, _now: float) -> None:
        """Nothing."""


def _note_nothing(_breaker: object, _one: object, _observed: object, _now: float) -> None:
    """Nothing."""
