"""The circuit breakers of one process: a breaker for each version on each GPU pool, and what its requests tell it.

In flight is what this process observes: the stream of ``aimesh.observe`` opens when the request goes to a server, and
ends with it, however that ends, so that nothing is counted for ever. An answer of a sample counts for those that it
stands for. Several processes count what each sees of the same servers, and need not agree: a decision here and the
observation of its request elsewhere balance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from extproc.exchange.notes import FAILED_AFTER_STATUS, Observed, RequestAccount
from extproc.exchange.sampling import STREAMED, share_told
from extproc.headers import Headers
from extproc.policy.breaker import CLOSED, Breaker, InFlight
from extproc.policy.circuit_breaker import Busy, CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.diversion import Diverted, with_room
from extproc.policy.snapshot import NONE, OTHER, Policy, Snapshot
from extproc.policy.sticky_key import sticky_key
from extproc.policy.target import Target

MAX_TARGETS = 10_000
"""Targets whose breakers are kept; beyond, those of old are forgotten."""


class Breakers:
    """All of a process. Used by its event loop's thread alone, but for ``describe``."""

    def __init__(self, clock: Callable[[], float], processes: int = 1) -> None:
        """``processes``: that share the requests of one processor, and its policies' bounds."""
        self._clock = clock
        self._processes = processes
        self._breakers: dict[str, tuple[CircuitBreaker, Breaker]] = {}

    def busy(self, policy: Policy, target: Target) -> Busy | None:
        """As ``policy.diversion.Limits`` says."""
        return self._of(policy, target.cluster).busy(self._clock())

    def within(self, policy: Policy, target: Target) -> bool:
        """As ``policy.diversion.Limits`` says."""
        return self._of(policy, target.cluster).within_limit(self._clock())

    def admit(
        self,
        decision: Decision,
        asked: tuple[Headers, str | None, bytes],
        snapshot: Snapshot,
        down: frozenset[str],
        *,
        stays: bool,
    ) -> tuple[Decision, tuple[Diverted, ...]]:
        """Where the request goes, and what to note of that. ``asked``: headers, key in the body and random bytes by
        which the decision was made; ``stays``: it must go to the target of the decision. Raises ``NoRoom``.
        """
        notes: tuple[Diverted, ...] = ()
        policy = decision.policy
        if policy is not None and policy.breaker is not None and not stays:
            headers, body_key, entropy = asked
            key = sticky_key(policy, headers, body_key) or entropy
            decision, note = with_room(decision, policy, key, snapshot, down, self)
            policy, notes = decision.policy, () if note is None else (note,)
        if policy is not None and policy.breaker is not None:
            version = decision.version if policy.versions else ""
            self._of(policy, Target(policy.name, version, decision.pool, ()).cluster).admit(self._clock())
        return decision, notes

    def begin(self, snapshot: Snapshot, metadata: Mapping[str, str], now: float) -> tuple[Breaker, InFlight] | None:
        """A request goes to its server. None where no breaker is to know of it."""
        policy = snapshot.by_name.get(metadata.get("policy", ""))
        if policy is None or policy.breaker is None:
            return None
        version = metadata.get("version", "") if policy.versions else ""
        cluster = Target(policy.name, version, metadata.get("gpu_pool", ""), ()).cluster
        share = share_told(metadata)
        if not share or cluster not in snapshot.target_by_cluster:
            return None
        breaker = self._of(policy, cluster)
        return breaker, breaker.begin(now, 1 / share, streamed=STREAMED in metadata)

    def account(self, snapshot: Snapshot, account: RequestAccount) -> None:
        """What Envoy tells of an observed answer: one that its server broke off is seen to end, and no more."""
        if not account.observed or account.failure not in FAILED_AFTER_STATUS:
            return
        policy = snapshot.by_name.get(account.policy)
        if policy is None or policy.breaker is None:
            return
        version, pool = ("" if name in (NONE, OTHER) else name for name in (account.version, account.gpu_pool))
        cluster = Target(policy.name, version, pool, ()).cluster
        if cluster in snapshot.target_by_cluster:
            self._of(policy, cluster).outcome(self._clock(), failed=True)

    def describe(self, snapshot: Snapshot) -> dict[tuple[str, str, str], tuple[float, float, str]]:
        """By policy, version and pool: limit, in flight, state. Any thread may ask."""
        found = {}
        for cluster, (_, breaker) in list(self._breakers.items()):
            if (target := snapshot.target_by_cluster.get(cluster)) is not None:
                named = (target.policy, target.version, target.pool)
                found[named] = (float(int(breaker.limit)), breaker.in_flight, breaker.state)
        return found

    def _of(self, policy: Policy, cluster: str) -> Breaker:
        found = self._breakers.get(cluster)
        if found is not None and found[0] is policy.breaker:
            return found[1]
        bounds = policy.breaker or CircuitBreaker()
        breaker = Breaker(bounds.share(self._processes)) if found is None else found[1]
        breaker.bounds = bounds.share(self._processes)
        if len(self._breakers) >= MAX_TARGETS:
            idle = [name for name, (_, one) in self._breakers.items() if not one.in_flight and one.state == CLOSED]
            for name in idle:
                del self._breakers[name]
        self._breakers[cluster] = (bounds, breaker)
        return breaker


def note_end(breaker: Breaker, one: InFlight, observed: Observed, now: float) -> None:
    """What an answer tells at its end: whether the server failed. One that was broken off tells nothing; by whom, the
    access log says.
    """
    failed = observed.code.startswith("5") or observed.code == "429" or observed.error in FAILED_AFTER_STATUS
    if failed or not observed.error:
        breaker.outcome(now, failed=failed, one=one)
