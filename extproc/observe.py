"""The timing of one HTTP exchange, as the filter ``aimesh.observe`` shows it. Floor 3: may import floors 0 to 2.

The filter runs in observability mode: Envoy never waits for us and ignores replies, so there are none; only notes, and
``Finish`` as soon as the exchange is over. What the exchange is about comes with every message as the dynamic metadata
that ``aimesh.route`` wrote. A refusal by ``aimesh.route`` shows here as response headers without a request.
"""

from __future__ import annotations

from collections.abc import Mapping

from extproc.actions import Action, Finish, Observed
from extproc.apis import NAMES as API_NAMES
from extproc.events import (
    Closed,
    Event,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.headers import LINKERD_CLIENT
from extproc.view import NONE, OTHER, View

_ASKED = 256
"""Characters of a model's name that a client made up."""
_CALLER = 256
"""Characters of an identity."""


class ObserveStream:
    """Watches one exchange to its end. All times are seconds of one monotonic clock."""

    __slots__ = ("_caller", "_code", "_done", "_metadata", "_started", "_traceparent", "_view")

    def __init__(self, view: View) -> None:
        self._view = view
        self._metadata: Mapping[str, str] = {}
        self._started: float | None = None
        self._code = ""
        self._traceparent = ""
        self._caller = ""
        self._done = False

    def receive(self, event: Event, now: float) -> tuple[Action, ...]:
        """Notes what ``event`` tells. Any event in any order is taken as it is: an observer can't refuse one."""
        if self._done:
            return ()
        match event:
            case RequestHeaders():
                self._started = now
                self._metadata = event.metadata
                self._traceparent = event.headers.text("traceparent")
                self._caller = (event.peer or event.headers.text(LINKERD_CLIENT))[:_CALLER]
            case ResponseHeaders():
                # An informational head (100 to 199) is not the answer yet.
                self._code = event.headers.text(":status")
                self._metadata = self._metadata or event.metadata
                if event.end_of_stream:
                    return (self._end(now), Finish())
            case ResponseBody(end_of_stream=True) | ResponseTrailers():
                return (self._end(now), Finish())
            case Closed():
                # The client left, or Envoy gave up on us. Without any head there was nothing to observe.
                if self._started is not None or self._code:
                    return (self._end(now),)
                self._done = True
            case _:
                pass
        return ()

    def _end(self, now: float) -> Observed:
        self._done = True
        metadata = self._metadata
        model, version = self._labels(metadata)
        pool = metadata.get("gpu_pool", "")
        api = metadata.get("api", "")
        return Observed(
            model,
            version,
            pool if pool in self._view.pool_by_name else OTHER if pool else NONE,
            api if api in API_NAMES else OTHER if api else NONE,
            self._code or "0",
            None if self._started is None else now - self._started,
            cohort=metadata.get("cohort", ""),
            policy=metadata.get("policy", ""),
            caller=self._caller,
            traceparent=self._traceparent,
            asked=metadata.get("model", "")[:_ASKED],
            operation=metadata.get("operation", ""),
        )

    def _labels(self, metadata: Mapping[str, str]) -> tuple[str, str]:
        """Label values for model and version: only texts of the policy, so that no client can make up new ones."""
        found = self._view.match(metadata["model"]) if "model" in metadata else None
        if found is None or found.policy.name != metadata.get("policy"):
            return OTHER, NONE
        version = metadata.get("version", "")
        return found.pattern, version if version in found.policy.by_name else OTHER if version else NONE
