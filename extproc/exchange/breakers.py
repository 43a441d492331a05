"""The circuit breakers of one process: a breaker for each version on each GPU pool, and what its requests tell it.

In flight is what this process observes: the stream of ``aimesh.observe`` opens when the request goes to a server, and
ends with it, however that ends, so that nothing is counted for ever. An answer of a sample counts for those that it
stands for. Several processes count what each sees of the same servers, and need not agree: a decision here and the
observation of its request elsewhere balance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from extproc.bodies.grpc_message import is_grpc
from extproc.exchange.notes import FAILED_AFTER_STATUS, Observed, RequestAccount
from extproc.exchange.sampling import OBSERVE, STREAMED, share_told
from extproc.headers import Headers
from extproc.policy.breaker import CLOSED, Breaker, InFlight
from extproc.policy.circuit_breaker import Busy, CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.diversion import Diverted, with_room
from extproc.policy.snapshot import NONE, OTHER, Policy, Snapshot
from extproc.policy.sticky_key import sticky_key
from extproc.policy.target import Target

Name: TypeAlias = tuple[str, str, str]
"""Policy, version and GPU pool of a target."""
MAX_TARGETS = 10_000
"""Targets whose breakers are kept; beyond, those of old are forgotten."""


class Breakers:
    """All of a process. Used by its event loop's thread alone, but for ``describe``."""

    def __init__(self, clock: Callable[[], float], processes: int = 1) -> None:
        """``processes``: that share the requests of one processor, and its policies' bounds."""
        self._clock = clock
        self._processes = processes
        self._breakers: dict[Name, tuple[Policy, Breaker]] = {}
        self._snapshot, self._wanted = Snapshot(), False

    def wanted(self, snapshot: Snapshot) -> bool:
        """Whether a policy of the snapshot has a circuit breaker."""
        if snapshot is not self._snapshot:
            self._snapshot, self._wanted = snapshot, any(policy.breaker for policy in snapshot.policies)
        return self._wanted

    def busy(self, policy: Policy, target: Target) -> Busy | None:
        """As ``policy.diversion.Limits`` says."""
        return self._of(policy, (target.policy, target.version, target.pool)).busy(self._clock())

    def within(self, policy: Policy, target: Target) -> bool:
        """As ``policy.diversion.Limits`` says."""
        return self._of(policy, (target.policy, target.version, target.pool)).within_limit(self._clock())

    def admit(
        self,
        decision: Decision,
        asked: tuple[Headers, str | None, bytes],
        snapshot: Snapshot,
        down: frozenset[str],
        stays: bool,
    ) -> tuple[Decision, tuple[Diverted, ...]]:
        """Where the request goes, and what to note of that. ``asked``: headers, key in the body and random bytes by
        which the decision was made; ``stays``: it must go to the target of the decision. Raises ``NoRoom``.
        """
        policy = decision.policy
        if policy is None or policy.breaker is None:
            return decision, ()
        now = self._clock()
        breaker = self._of(policy, _name(decision, policy))
        if stays or breaker.busy(now) is None:
            breaker.admit(now)
            return decision, ()
        headers, body_key, entropy = asked
        key = sticky_key(policy, headers, body_key) or entropy
        decision, note = with_room(decision, policy, key, snapshot, down, self, grpc=is_grpc(headers))
        policy = decision.policy
        if policy is not None and policy.breaker is not None:
            self._of(policy, _name(decision, policy)).admit(now)
        return decision, () if note is None else (note,)

    def begin(self, snapshot: Snapshot, metadata: Mapping[str, str], now: float) -> tuple[Breaker, InFlight] | None:
        """A request goes to its server. None where no breaker is to know of it."""
        policies = snapshot.by_name
        policy = policies.get(metadata.get("policy", ""))
        if policy is None or policy.breaker is None:
            return None
        share = share_told(metadata) if OBSERVE in metadata else 1.0
        if not share:
            return None
        name = (policy.name, metadata.get("version", "") if policy.versions else "", metadata.get("gpu_pool", ""))
        known = self._breakers.get(name)
        if known is not None and known[0] is policy:
            breaker = known[1]
        elif _is_target(snapshot, name):
            breaker = self._of(policy, name)
        else:
            return None
        one = breaker.begin_stream(now, 1 / share) if STREAMED in metadata else breaker.begin(now, 1 / share)
        return breaker, one

    def account(self, snapshot: Snapshot, account: RequestAccount) -> None:
        """What Envoy tells of an observed answer: one that its server broke off is seen to end, and no more."""
        if not account.observed or account.failure not in FAILED_AFTER_STATUS:
            return
        policy = snapshot.by_name.get(account.policy)
        if policy is None or policy.breaker is None:
            return
        version, pool = ("" if name in (NONE, OTHER) else name for name in (account.version, account.gpu_pool))
        if _is_target(snapshot, name := (policy.name, version, pool)):
            self._of(policy, name).outcome(self._clock(), True)

    def describe(self, snapshot: Snapshot) -> dict[Name, tuple[float, float, str]]:
        """By policy, version and pool: limit, in flight, state. Any thread may ask."""
        return {
            name: (float(int(breaker.limit)), breaker.in_flight, breaker.state)
            for name, (_, breaker) in list(self._breakers.items())
            if _is_target(snapshot, name)
        }

    def _of(self, policy: Policy, name: Name) -> Breaker:
        found = self._breakers.get(name)
        if found is not None and found[0] is policy:
            return found[1]
        bounds = (policy.breaker or CircuitBreaker()).share(self._processes)
        breaker = Breaker(bounds) if found is None else found[1]
        breaker.set_bounds(bounds)
        breaker.promised = policy.slo.first_token.under if policy.slo and policy.slo.first_token else 0.0
        if found is None and len(self._breakers) >= MAX_TARGETS:
            for idle in [n for n, (_, one) in self._breakers.items() if not one.in_flight and one.state == CLOSED]:
                del self._breakers[idle]
        self._breakers[name] = (policy, breaker)
        return breaker


def _is_target(snapshot: Snapshot, name: Name) -> bool:
    policy, version, pool = name
    for target in snapshot.targets.get((policy, version), ()):  # noqa: SIM110 - faster than any()
        if target.pool == pool:
            return True
    return False


def _name(decision: Decision, policy: Policy) -> Name:
    return policy.name, decision.version if policy.versions else "", decision.pool


def note_end(breaker: Breaker, one: InFlight, observed: Observed, now: float) -> None:
    """What an answer tells at its end: whether the server failed. One that was broken off tells nothing; by whom, the
    access log says.
    """
    failed = observed.code.startswith("5") or observed.code == "429" or observed.error in FAILED_AFTER_STATUS
    if failed or not observed.error:
        breaker.outcome(now, failed, one)
