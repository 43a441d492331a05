"""For ``extproc explain``: whether later requests find what a server keeps, and why not where they may not."""

from __future__ import annotations

from extproc.bodies.request import Operation
from extproc.headers import Headers
from extproc.policy.decision import MATCH, PIN, SESSION, STICKY, Decision
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.sticky_key import sticky_key

_BY_TAG = frozenset((("mcp", "message"), ("openai", "realtime.calls"), ("azure", "realtime.calls")))
"""Operations whose answers have the id in a header, to which Envoy appends a tag."""


def follow_up_caveat(
    operation: Operation, decision: Decision, policy: Policy, snapshot: Snapshot, headers: Headers
) -> str:
    """A sentence for the reason, behind a semicolon; empty where later requests by an id go where this one goes."""
    if not operation.stateful or decision.cohort == SESSION or (operation.api, operation.name) in _BY_TAG:
        return ""
    if decision.pattern and policy is not snapshot.fallback:
        return (
            "; what a server keeps of it is not found by its id alone: such requests name no model, "
            f"and the servers of policy {snapshot.fallback.name} get them"
        )
    names = [version.name for version in policy.answering] or [""]
    servers = [(t.version, t.pool) for name in names for t in snapshot.targets[policy.name, name] for _ in t.endpoints]
    if len(servers) < 2 or decision.endpoint:
        return ""
    if decision.cohort not in (STICKY, MATCH, PIN) and sticky_key(policy, headers, None) is None:
        return "; what a server keeps of it may not be found by its id: only a sticky key in each request leads there"
    if servers.count((decision.version, decision.pool)) < 2:
        return ""
    return (
        "; which of the version's servers keeps something of it can't be told: name them by IP address, and have a key"
    )
