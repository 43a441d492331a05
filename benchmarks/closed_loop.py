"""The cases of what follows answers: what a circuit breaker and a rollout add to a request.

Two ways. First from the bytes that gRPC gives, with and without: a chat past the handler that routes it, for which its
client waits, and the answer past the one that observes it, for which nobody does; its messages have what the other one
wrote. Then the calls alone that a breaker gets of one request, by a loop in Python whose own cost is measured, too, by
calls that do nothing.
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
PLAIN, LIMITED, ROLLED_OUT = "4 KB chat, decided", "… with a circuit breaker", "… in a rollout"
WATCHED, WATCHED_LIMITED, WATCHED_ROLLED_OUT = "its answer, observed", "… with a breaker", "… of a rollout"
ALONE, NOBODY = "the breaker's calls alone", "as many that do nothing"
BELOW_US = 2.0
"""What breaker and rollout together may add until a request is decided, and all calls of a breaker's cost."""
BREAKER = CircuitBreaker(max_concurrency=1 << 20)
"""So many that none is refused, however many are decided before the first is observed."""
_FIRST = 0.1
"""Seconds to the first token."""


def cases() -> list[Case]:
    """Everything that is compared."""
    plan = RolloutPlan("v2", (Guard(metric=ERRORS, maximum=0.01),))
    state = RolloutState(MODEL, "v2", PROGRESSING, 10, 0.0)
    ways: list[tuple[tuple[str, str], dict[str, Any]]] = [
        ((PLAIN, WATCHED), {}),
        ((LIMITED, WATCHED_LIMITED), {"breaker": BREAKER}),
        ((ROLLED_OUT, WATCHED_ROLLED_OUT), {"rollout": plan, "rollout_state": state}),
    ]
    return [
        *(Case(GROUP, name, run) for names, fields in ways for name, run in zip(names, _both(**fields), strict=True)),
        Case(GROUP, ALONE, _calls(Breakers(perf_counter), note_end)),
        Case(GROUP, NOBODY, _calls(_Nobody(), _note_nothing)),
    ]


def verdicts(timings: Mapping[str, Timing]) -> list[str]:
    """What they add, and whether that is what it may be."""

    def more(name: str, than: str) -> tuple[float, float]:
        """The least; the median by what they are to each other in a round, since the machine does other work, too."""
        one, other = timings[name], timings[than]
        return one.best - other.best, (one.ratio - other.ratio) * timings[PLAIN].median

    def met(best: float, median: float) -> str:
        how = "met" if max(best, median) < BELOW_US else "met when undisturbed" if best < BELOW_US else "not met"
        return f"{how} (best {best:.2f}, median {median:.2f} µs)"

    decided = [sum(pair) for pair in zip(more(LIMITED, PLAIN), more(ROLLED_OUT, PLAIN), strict=True)]
    watched = [more(name, WATCHED)[0] for name in (WATCHED_LIMITED, WATCHED_ROLLED_OUT)]
    own = f"without the benchmark's own {timings[NOBODY].best:.2f} µs"
    return [
        f"Target, breaker and rollout under {BELOW_US:g} µs until a request is decided: {met(*decided)}.",
        f"Target, a breaker's calls of one request under {BELOW_US:g} µs: {met(*more(ALONE, NOBODY))}, {own}.",
        f"To observing the answer a breaker adds {watched[0]:.1f} µs, a rollout {watched[1]:.1f} µs (best).",
    ]


def _policies(**fields: Any) -> Snapshot:
    """The example's, with these fields, and without sampling: every answer is observed."""
    view = example_snapshot()
    policies = tuple(msgspec.structs.replace(policy, sampling=1.0, **fields) for policy in view.policies)
    return msgspec.structs.replace(view, policies=policies)


def _both(**fields: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """Takes the next chat; takes its answer."""
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

    def answer(request: Request) -> list[bytes]:
        last = pb.ProcessingResponse.FromString(send(request)[-1])
        told = last.dynamic_metadata.fields["aimesh"].struct_value.fields
        metadata = {key: value.string_value for key, value in told.items()}
        return observe.messages("openai", metadata, b"data: [DONE]\n\n")

    chats = [chat(4096, user=user) for user in range(16)]
    answers = [answer(request) for request in chats]
    for messages in answers:
        send(messages)
    states = {state for _, _, state, _ in breakers.describe(view).values()}
    assert states == ({CLOSED} if view.policies[0].breaker else set())
    (found,) = decode_report(measured.report()).processes
    counted = sum(counts.requests for versions in found.policies.values() for counts in versions.values())
    assert counted == (len(chats) if view.policies[0].rollout else 0)
    following, ended = cycle(chats).__next__, cycle(answers).__next__
    return lambda: send(following()), lambda: send(ended())


def _calls(breakers: Any, end: Callable[..., None]) -> Callable[[], object]:
    """What the handlers call of one request: at the decision, and at request, first token and end of the answer.

    ``breakers``: ``Breakers``, or ``_Nobody``.
    """
    view = _policies(breaker=BREAKER)
    policy = view.policies[0]
    target = view.targets[policy.name, policy.versions[0].name][0]
    metadata = {"policy": policy.name, "version": target.version, "gpu_pool": target.pool, STREAMED: "true"}
    decision = Decision(InferenceRequest("openai", "chat", MODEL), policy, MODEL, target.version, "match", target.pool)
    asked, down = (Headers(), None, ENTROPY), frozenset[str]()
    answer = Observed(MODEL, target.version, target.pool, "openai", "200", 1.0, policy=policy.name, first_token=_FIRST)

    def run() -> None:
        breakers.admit(decision, asked, view, down, False)
        now = perf_counter()
        begun = breakers.begin(view, metadata, asked[0], now)
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

    def begin(self, _snapshot: object, _metadata: object, _headers: object, _now: float) -> tuple[_Nobody, _Nobody]:
        return self, self

    def first_token(self, _one: object, _seconds: float, _now: float) -> None:
        """Nothing."""

    def end(self, _one: object, _now: float) -> None:
        """Nothing."""


def _note_nothing(_breaker: object, _one: object, _observed: object, _now: float) -> None:
    """Nothing."""
