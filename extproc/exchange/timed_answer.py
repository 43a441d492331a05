"""What is observed of one answer: pure functions from the exchange and the answer to ``Observed``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from extproc.answers import AnswerReader
from extproc.exchange.metric_labels import metric_labels
from extproc.exchange.notes import Observed, ObservedPick
from extproc.policy.decision import USER, USER_LENGTH
from extproc.policy.snapshot import NONE, Policy, Snapshot

MAX_MODEL = 256
"""Characters of a model's name as a client wrote it."""
MAX_ADDRESS = 64
"""Characters of a server's address; the longest IPv6 one with its port has 53."""

_Count: TypeAlias = int | None


class ObservedExchange(msgspec.Struct, frozen=True):
    """What all answers of an exchange have in common."""

    snapshot: Snapshot
    metadata: Mapping[str, str]
    """Dynamic metadata that ``aimesh.route`` wrote."""
    code: str
    """As ``Observed.code``; empty where no response headers have come."""
    caller: str
    traceparent: str
    accounted: bool = False
    """As ``Observed.accounted``."""
    request_id: str = ""
    picked: str = ""
    """The servers that were picked, separated by commas; empty where none was."""
    served: str = ""
    """Who answered; empty where it is not known."""
    share: float = 1.0
    """As ``Observed.share``, as are the next two."""
    first_token_share: float = 1.0
    read_to_end: bool = True

    @property
    def policy(self) -> Policy | None:
        """The policy that owns the request; None where none does, or it is no longer in force."""
        return self.snapshot.by_name.get(self.metadata.get("policy", ""))

    @property
    def gpu_type(self) -> str:
        """The architecture of the GPUs that answer, by the pool, else by the policy; ``NONE`` where it is not known."""
        pool, policy = self.snapshot.pool_by_name.get(self.metadata.get("gpu_pool", "")), self.policy
        if pool is not None:
            return pool.gpu.architecture
        return (policy.gpu.architecture if policy is not None and policy.gpu else "") or NONE


class TimedAnswer(msgspec.Struct, frozen=True):
    """One answer, and when it came. Times are seconds of one monotonic clock; None where they are not known."""

    reader: AnswerReader | None
    """None where the answer was not read."""
    started: float | None
    """When the request came or, in a session, when the server acknowledged it."""
    first_token: float | None
    last_token: float | None
    ended: float | None
    error: str = ""
    """One of ``notes.ERRORS``, or empty."""
    left: bool = False
    """As ``Observed.left``."""


def observed(exchange: ObservedExchange, answer: TimedAnswer) -> Observed:
    """What is known of an answer at its end."""
    metadata, reader = exchange.metadata, answer.reader
    labels = metric_labels(exchange.snapshot, metadata)
    given, output, cached = (None, None, None) if reader is None or answer.left else reader.counts()
    streamed = reader is not None and reader.streamed
    # Some servers write zero where they do not count.
    estimated = False
    if reader is not None and streamed and not output and not answer.left:
        estimated = reader.pieces_are_tokens and reader.state.output_events > 0
        output = reader.state.output_events if estimated else output
    return Observed(
        labels.model,
        labels.version,
        labels.gpu_pool,
        labels.api,
        exchange.code or "0",
        None if answer.started is None or answer.ended is None else answer.ended - answer.started,
        cohort=metadata.get("cohort", ""),
        policy=labels.policy,
        caller=exchange.caller,
        first_token=_time_to_first_token(answer) if streamed else None,
        per_token=_time_per_output_token(answer, output) if streamed else None,
        input_tokens=given,
        output_tokens=output,
        cached_tokens=cached,
        estimated=estimated,
        streamed=streamed,
        error=answer.error,
        traceparent=exchange.traceparent,
        asked=metadata.get("model", "")[:MAX_MODEL],
        operation=metadata.get("operation", ""),
        request_id=exchange.request_id,
        accounted=exchange.accounted,
        share=exchange.share,
        first_token_share=exchange.first_token_share,
        read_to_end=exchange.read_to_end,
        left=answer.left,
        user=metadata.get(USER, "")[:USER_LENGTH],
        pick=_pick(exchange),
    )


def served_by(picked: Sequence[str], served: str) -> str:
    """``Served.by``. ``picked``: the servers that were told, the best first; ``served``: who answered, if anybody."""
    if not served:
        return "nobody"
    if served == picked[0]:
        return "picked"
    return "fallback" if served in picked else "other"


def _pick(exchange: ObservedExchange) -> ObservedPick | None:
    policy = exchange.policy if exchange.picked else None
    if policy is None or policy.picking is None:
        return None
    told, served = exchange.picked.split(","), exchange.served[:MAX_ADDRESS]
    return ObservedPick(policy.picking.by, told[0][:MAX_ADDRESS], served, served_by(told, served) if served else "")


def _time_to_first_token(answer: TimedAnswer) -> float | None:
    return None if answer.first_token is None or answer.started is None else answer.first_token - answer.started


def _time_per_output_token(answer: TimedAnswer, output: _Count) -> float | None:
    """None where the output came at one time, or its pieces are no tokens."""
    first, last = answer.first_token, answer.last_token
    if answer.reader is None or not answer.reader.pieces_are_tokens or first is None or last is None:
        return None
    return (last - first) / (output - 1) if output is not None and output > 1 and last > first else None
