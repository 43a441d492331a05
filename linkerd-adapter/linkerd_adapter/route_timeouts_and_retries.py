"""Timeouts and retries of a policy as annotations of its HTTPRoutes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.policy.snapshot import Policy
from extproc.render.envoy.envoy_options import seconds


def timeouts_and_retries(policies: Sequence[Policy]) -> dict[str, str]:
    """The annotations for timeouts and retries; of several policies on one apex the longest timeout counts.

    There is no ``timeout.linkerd.io/response``: it runs until an answer is complete (linkerd2-proxy's
    ``response_end``), and so does ``request``; both would cut every stream that lasts. The time until an answer begins
    is watched by the gateway's Envoy. A retry repeats what a server refused (502, 503), never what took too long.
    """
    found = {}
    timeouts = [policy.timeout for policy in policies]
    if all(timeouts):
        found["timeout.linkerd.io/idle"] = idle_timeout(max(t for t in timeouts if t))
    if all(policy.retry_budget for policy in policies):
        found |= {"retry.linkerd.io/http": "502,503", "retry.linkerd.io/limit": "1"}
    return found


def idle_timeout(timeout: float) -> str:
    """The idle timeout, as Linkerd writes durations, for a policy's timeout in seconds; it is longer than that.

    Linkerd's durations have no fractions.
    """
    milliseconds = round((3 * timeout + 60) * 1000)
    return seconds(milliseconds // 1000) if milliseconds % 1000 == 0 else f"{milliseconds}ms"
