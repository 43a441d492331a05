"""Notes of an exchange for metrics, taps and traces; they are never sent to Envoy."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from extproc.envoy.actions import Finish, Reply
from extproc.exchange.waiting_pick import WaitingPick
from extproc.policy.custom_metric import CustomMetric
from extproc.policy.diversion import Diverted
from extproc.policy.pool_load import ServerLoad


class Unmatched(msgspec.Struct, frozen=True):
    """a request that no policy or no API of ours claims (``inference_unmatched_total``)."""

    reason: str


class Fault(msgspec.Struct, frozen=True):
    """Envoy and we disagree on the protocol (``extproc_errors_total``)."""

    reason: str


class ObservedPick(msgspec.Struct, frozen=True):
    """Which server was picked for an exchange, and which one answered: for people, never labels."""

    by: str
    """How the policy picks: ``policy.picking.STRATEGIES``."""
    picked: str
    """``ip:port``, as the next one."""
    served: str
    """Empty where it is not known."""
    outcome: str
    """As ``Served.by``; empty where ``served`` is."""


class Observed(msgspec.Struct, frozen=True):
    """one HTTP exchange came to its end, and all that is known of it. Times are seconds."""

    model: str
    """Texts of the policy, as all label values: clients can add none; ``OTHER`` or ``NONE`` of ``policy.snapshot``."""
    version: str
    gpu_pool: str
    api: str
    code: str
    """The HTTP status, three digits; ``0`` where the client left before there was one, ``other`` for any other text."""
    seconds: float | None
    """From the request's arrival to the last byte of the response; None where the request was never routed, and where
    nobody watched the end."""
    cohort: str = ""
    """How the version was chosen: weight, sticky, match, pin, default; empty where nothing was decided."""
    policy: str = ""
    """The policy that owns the request; empty where none does."""
    caller: str = ""
    """The caller's identity by the mesh; empty where there is none. Labels are made by ``telemetry.caller_labels``."""
    first_token: float | None = None
    """From the request's arrival to the first token of the answer (TTFT); None where the answer was no stream."""
    per_token: float | None = None
    """Between two output tokens of a stream, on average (TPOT); None with fewer than two."""
    input_tokens: int | None = None
    """Of the whole prompt, the cached ones too. None, here and below: the answer does not tell."""
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Those of the input that the model server had computed before."""
    estimated: bool = False
    """``output_tokens`` is not the model server's count but ours: one for each piece of the answer."""
    streamed: bool = False
    """The answer was a stream of tokens or events, not one document."""
    error: str = ""
    """How it failed beyond what the status tells: one of ``ERRORS``; empty where it did not. For taps, one of
    ``FAILURES`` in the place of ``broken_off``."""
    traceparent: str = ""
    """The trace context that the request came with (W3C), unchecked; empty where it had none."""
    tracestate: str = ""
    """What belongs to it; empty where it is not known."""
    asked: str = ""
    """The model as the client names it, cut to 256 characters: for people, never a label; a key of ``extproc tap``."""
    operation: str = ""
    """The API's operation, as ``apis`` names it; empty where it is not known."""
    request_id: str = ""
    """``x-request-id`` of an accounted request; never a label."""
    accounted: bool = False
    """Envoy's access log gives a ``RequestAccount`` of the request: status, duration and how it ended count there."""
    share: float = 1.0
    """Share of the answers like it of which as much is known (``exchange.sampling``); less than 1 only of accounted
    ones."""
    first_token_share: float = 1.0
    """The same of ``first_token`` alone: streams of which less is known have one, too."""
    read_to_end: bool = True
    """It was drawn to be read to its end. Of a stream that was not, its account tells how it ended."""
    left: bool = False
    """The observer left at the first token: nothing is known of what came after it."""
    user: str = ""
    """``Decision.user``: never a label."""
    pick: ObservedPick | None = None
    """None where no server was picked."""

    @property
    def stands_for(self) -> float:
        """How many answers it stands for, itself included: what the account does not tell counts so many times."""
        return 1 / self.share

    @property
    def first_token_stands_for(self) -> float:
        """The same of its ``first_token``."""
        return 1 / self.first_token_share


SHED = "shed"
"""We could not keep up and watched only the beginning: the exchange itself did not fail."""
BROKEN_OFF = "broken_off"
CLIENT_ERROR = "client_error"
"""The model server told of an error in an answer of status 200 that is the client's, as 4xx is: it did not fail."""
ERRORS = ("error_in_stream", CLIENT_ERROR, "client_left", BROKEN_OFF, "cut_short", SHED)
"""The model server reported an error in an answer of status 200; one that is the client's; the exchange was broken off
before its end, by the
client mostly; the same where the account of the request says by whom; the answer ended without the mark that its API
ends with."""

FAILED_AFTER_STATUS = ("error_in_stream", "cut_short", "upstream_broke_off", "upstream_stalled", "no_answer")
"""Of ``ERRORS`` and ``FAILURES``, those of the model server that the status does not show: no exchange has two."""


class RequestAccount(msgspec.Struct, frozen=True):
    """one request has ended, by Envoy's access log."""

    model: str
    """Texts of the policy, as all label values; by where the request went, as are ``version`` and ``gpu_pool``."""
    version: str
    gpu_pool: str
    api: str
    code: str
    """The HTTP status; ``0`` where the client left before there was one."""
    seconds: float | None
    """From the request's first byte to the end of the exchange; None where it was never routed."""
    cohort: str = ""
    """As ``Observed.cohort``; empty where the request went elsewhere than decided."""
    policy: str = ""
    caller: str = ""
    """As ``Observed.caller``."""
    failure: str = ""
    """One of ``FAILURES``, or empty."""
    asked: str = ""
    """As ``Observed.asked``, as are the next two."""
    operation: str = ""
    request_id: str = ""
    observed: bool = True
    """False where the answer was not drawn to be read to its end (``exchange.sampling``)."""
    user: str = ""
    """As ``Observed.user``."""
    refusal: str = ""
    """One of ``REFUSALS``, or empty."""
    served: str = ""
    """The server, of a request whose endpoint was picked; empty where there was none."""


REFUSALS = frozenset(
    (
        *("no_room", "version_ejected", "saturated", "queue_full", "queue_timeout"),
        *("no_endpoint", "no_gpu_available"),
    )
)
"""Codes of errors (429, 503) with which the processor refuses a request that it could have served at another time: its
circuit breakers and queues have no room, or no server may have it.
"""
FAILURES = (
    *("client_left", "client_stalled", "idle"),
    *("upstream_broke_off", "upstream_stalled", "no_answer"),
    *("upstream_reset", "upstream_timeout", "upstream_unreachable", "overloaded"),
)
"""Why a request did not end as it should. The client left, or stopped amid the request; nothing passed for too long
either way, once the answer had begun. The model server, or the way to it, broke off an answer that had begun, or took
too long with it; a gRPC call got no answer. With a status of 5xx: the same before the answer began; no model server
could be reached; Envoy had no memory left.
"""


class Picked(msgspec.Struct, frozen=True):
    """one endpoint of a version was to be picked (``inference_picks_total``)."""

    policy: str
    version: str
    gpu_pool: str
    outcome: str
    """One of ``PICKS``."""


class Waited(msgspec.Struct, frozen=True):
    """a request found every endpoint saturated, and was to wait for one (``inference_queue_requests_total``)."""

    policy: str
    outcome: str
    """One of ``QUEUED``."""
    seconds: float | None = None
    """For how long it did; None: there was no room for it."""


ROUTED, UNSERVED, QUEUE_FULL, QUEUE_TIMEOUT = "routed", "none_ready", "queue_full", "queue_timeout"
CLIENT_LEFT, EVICTED = "client_left", "evicted"
QUEUED = (ROUTED, UNSERVED, QUEUE_FULL, QUEUE_TIMEOUT, CLIENT_LEFT, EVICTED)
"""It went on; at its turn no endpoint could have it; there was no room for it; it waited for as long as it may; the
client left meanwhile; or it had waited and made room, for another, or as fewer may wait now.
"""


PICKED, KEPT, LEFT, NONE_READY, SHED_PICK = "picked", "kept", "left_to_proxy", "none_ready", "shed"
PICKS = (PICKED, KEPT, LEFT, NONE_READY, SHED_PICK)
"""It was; the request has a server, which keeps what it asks for; the version's endpoints are names, of which a proxy
can be told none; no endpoint may have it; or all are saturated, and it is not urgent.
"""


class Served(msgspec.Struct, frozen=True):
    """a request whose endpoint was picked has ended (``inference_picks_served_total``)."""

    policy: str
    version: str
    gpu_pool: str
    by: str
    """``picked``, ``fallback`` (the next ones of the list), ``other`` (the proxy's choice), ``nobody``."""


class CustomSample(msgspec.Struct, frozen=True):
    """what one exchange adds to a metric that its policy asks for."""

    metric: CustomMetric
    labels: tuple[str, ...]
    """Values, in the order of the metric's labels."""
    amount: float
    per: float = 1.0
    """Of a gauge: what its amounts are divided by is the sum of these."""
    times: float = 1.0
    """How many exchanges this one stands for (``Observed.stands_for``)."""


class LoadReport(msgspec.Struct, frozen=True):
    """a server of a GPU pool says with its response how busy it is."""

    pool: str
    load: ServerLoad


Note: TypeAlias = Unmatched | Fault | Observed | RequestAccount | CustomSample | Diverted | Picked | Served | Waited
"""What the metrics count."""
Action: TypeAlias = Reply | Finish | Note | LoadReport | WaitingPick
"""Everything that an exchange gives for an event."""
