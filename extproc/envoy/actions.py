"""What we answer, and what we note for the metrics.

Replies and ``Reject`` go to Envoy in the order given; ``Finish`` ends the gRPC stream after them. Notes never leave the
process: the shell counts them.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from extproc.envoy.events import BodyMode
from extproc.policy.custom_metric import CustomMetric
from extproc.policy.pool_load import ServerLoad


class Mutation(msgspec.Struct, frozen=True, cache_hash=True):
    """A change of the request's headers, and what goes with it. Decisions repeat, so one may serve many requests."""

    set: tuple[tuple[str, str], ...] = ()
    """Overwritten, never appended."""
    remove: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """Dynamic metadata for the namespace ``aimesh``."""

    @property
    def clear_route_cache(self) -> bool:
        """Any change of the routing headers makes Envoy choose the route anew."""
        return bool(self.set or self.remove)


NO_MUTATION = Mutation()


class HeadersReply(msgspec.Struct, frozen=True):
    """Answers the request's headers: go on, with these changes."""

    mutation: Mutation = NO_MUTATION
    body_mode: BodyMode | None = None
    """Ask Envoy for the body after all (``mode_override``)."""


class BodyReply(msgspec.Struct, frozen=True):
    """Answers one piece of the request's body (all of it when BUFFERED)."""

    mutation: Mutation = NO_MUTATION
    """Counts only where the body is BUFFERED; else it went with the deferred ``HeadersReply``."""
    body: bytes | None = None
    """What goes upstream in its place; None: the piece as it came."""


class BodyEcho(msgspec.Struct, frozen=True):
    """FULL_DUPLEX_STREAMED: the next piece of the body that goes upstream, ours to send."""

    data: bytes
    end_of_stream: bool


class TrailersReply(msgspec.Struct, frozen=True):
    """Answers trailers: unchanged. ``request`` tells which."""

    request: bool = True


class ResponseReply(msgspec.Struct, frozen=True):
    """Answers a response phase that a filter sent us though we never ask for it: unchanged."""

    body: bool = False
    """It was a piece of the body, not the headers."""


class Reject(msgspec.Struct, frozen=True):
    """Ends the exchange: the client gets ``status`` and an OpenAI-style JSON error, in gRPC a status and a message."""

    status: int
    code: str
    message: str
    metadata: tuple[tuple[str, str], ...] = ()
    grpc: bool = False
    """The client speaks gRPC."""


class Finish(msgspec.Struct, frozen=True):
    """End the gRPC stream with status OK: Envoy goes on without us."""


FINISH = Finish()


class Unmatched(msgspec.Struct, frozen=True):
    """Note: a request that no policy or no API of ours claims (``inference_unmatched_total``)."""

    reason: str


class Fault(msgspec.Struct, frozen=True):
    """Note: Envoy and we disagree on the protocol (``extproc_errors_total``)."""

    reason: str


class Observed(msgspec.Struct, frozen=True):
    """Note: one HTTP exchange came to its end, and all that is known of it. Times are seconds."""

    model: str
    """Texts of the policy's, as all label values are: a client can make up none. See ``view.OTHER`` and ``NONE``."""
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
    """Who asked, as the mesh tells it; empty where it does not. May be a client's own text: never a label."""
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
    """``output_tokens`` was not told by the model server but counted: one for each piece of the answer."""
    streamed: bool = False
    """The answer was a stream of tokens or events, not one document."""
    error: str = ""
    """How it failed beyond what the status tells: one of ``ERRORS``; empty where it did not."""
    traceparent: str = ""
    """The trace context that the request came with (W3C), unchecked; empty where it had none."""
    asked: str = ""
    """The model as the client names it, cut to 256 characters: for people, never a label."""
    operation: str = ""
    """What of the API was asked, as ``apis`` names it; empty where it is not known."""


SHED = "shed"
"""We could not keep up, and watched only the beginning: no failure of the exchange's."""
ERRORS = ("error_in_stream", "client_left", "cut_short", SHED)
"""The model server reported an error in an answer of status 200; the exchange was broken off before its end, by the
client mostly; the answer ended without the mark that its API ends with."""


class CustomSample(msgspec.Struct, frozen=True):
    """Note: what one exchange adds to a metric that its policy asks for."""

    metric: CustomMetric
    labels: tuple[str, ...]
    """Values, in the order of the metric's labels."""
    amount: float
    per: float = 1.0
    """Of a gauge: what its amounts are divided by is the sum of these."""


class LoadReport(msgspec.Struct, frozen=True):
    """Note: a server of a GPU pool has told, with its answer, how busy it is."""

    pool: str
    load: ServerLoad


Reply: TypeAlias = HeadersReply | BodyReply | BodyEcho | TrailersReply | ResponseReply | Reject
Note: TypeAlias = Unmatched | Fault | Observed | CustomSample
Action: TypeAlias = Reply | Finish | Note | LoadReport
