"""The circuit breakers of one process: a breaker for each version on each GPU pool or, where endpoints are picked, for
each of its endpoints, and what their requests tell them.

In flight is what this process observes: the stream of ``aimesh.observe`` opens when the request goes to a server, and
ends with it, however that ends, so that nothing is counted for ever. An answer of a sample counts for those that it
stands for. Several processes count what each sees of the same servers, and need not agree: a decision here and the
observation of its request elsewhere balance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from extproc.bodies.grpc_message import is_grpc
from extproc.exchange.endpoint_breakers import NOBODY, EndpointBreaker, EndpointBreakers
from extproc.exchange.notes import FAILED_AFTER_STATUS, Observed, RequestAccount
from extproc.exchange.sampling import OBSERVE, STREAMED, share_told
from extproc.headers import DESTINATION_ENDPOINT, Headers
from extproc.policy.breaker import CLOSED, EJECTED, Breaker, InFlight
from extproc.policy.circuit_breaker import Busy, CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.diversion import Diverted, with_room
from extproc.policy.snapshot import NONE, OTHER, Policy, Snapshot
from extproc.policy.sticky_key import sticky_key
from extproc.policy.target import Target, is_address

Name: TypeAlias = tuple[str, str, str]
"""Policy, version and GPU pool of a target."""
MAX_TARGETS = 10_000
"""Targets whose breakers are kept; beyond, those of old are forgotten."""


class Breakers:
    """All of a process. Used by its event loop's thread alone, but for ``describe``."""

    def __init__(
        self,
        clock: Callable[[], float],
        processes: int = 1,
        unreachable: Callable[[], frozenset[str]] = lambda: NOBODY,
    ) -> None:
        """``processes``: that share the requests of one processor, and its policies' bounds; ``unreachable``: as
        ``EndpointBreakers`` has it.
        """
        self._clock, self._unreachable = clock, unreachable
        self._processes = processes
        self._breakers: dict[Name, tuple[Policy, Breaker]] = {}
        self._snapshot, self._wanted = Snapshot(), False
        self._endpoints: dict[tuple[Name, bool], EndpointBreakers] = {}
        """Of targets whose endpoints are picked, across reloads; True: of their servers for gRPC, where these are
        others.
        """
        self._present: dict[Name, tuple[EndpointBreakers | None, EndpointBreakers | None]] = {}
        """Of those, and of other targets None, by the policies in force: as far as they were asked for. For gRPC in
        the last place.
        """

    def wanted(self, snapshot: Snapshot) -> bool:
        """Whether a policy of the snapshot has a circuit breaker."""
        if snapshot is not self._snapshot:
            self._snapshot, self._wanted = snapshot, any(policy.breaker for policy in snapshot.policies)
            names = {name for name, _ in self._endpoints if _is_target(snapshot, name)}
            self._present = {name: self._of_target(name) for name in names}
            known = list(self._endpoints.items())
            self._endpoints = {key: one for key, one in known if one in self._present.get(key[0], ())}
        return self._wanted

    def busy(self, policy: Policy, target: Target, grpc: bool) -> Busy | None:
        """As ``policy.diversion.Limits`` says."""
        return self._busy(policy, (target.policy, target.version, target.pool), grpc, self._clock())

    def within(self, policy: Policy, target: Target, grpc: bool) -> bool:
        """As ``policy.diversion.Limits`` says."""
        name = target.policy, target.version, target.pool
        endpoints = self.endpoints(policy, name, grpc)
        return (self._of(policy, name) if endpoints is None else endpoints).within_limit(self._clock())

    def endpoints(self, policy: Policy, name: Name, grpc: bool) -> EndpointBreakers | None:
        """Those of the target's endpoints, or of its servers for gRPC; None where they are not picked, or the policy
        has no breaker. The pick tells them where a request goes.
        """
        if policy.picking is None or policy.breaker is None:
            return None
        if name not in self._present:
            if not _is_target(self._snapshot, name):  # gone, or as whoever reaches us writes it
                return None
            self._present[name] = self._of_target(name)
        plain, other = self._present[name]
        return other if grpc else plain

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
        now, (headers, body_key, entropy) = self._clock(), asked
        name, grpc = _name(decision, policy), policy.picking is not None and is_grpc(headers)
        if stays or self._busy(policy, name, grpc, now) is None:
            self._admitted(policy, name, grpc, now)
            return decision, ()
        key, grpc = sticky_key(policy, headers, body_key) or entropy, is_grpc(headers)
        decision, note = with_room(decision, policy, key, snapshot, down, self, grpc=grpc)
        policy = decision.policy
        if policy is not None and policy.breaker is not None:
            self._admitted(policy, _name(decision, policy), grpc, now)
        return decision, () if note is None else (note,)

    def begin(
        self, snapshot: Snapshot, metadata: Mapping[str, str], headers: Headers, now: float
    ) -> tuple[Breaker, InFlight] | None:
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
        endpoints = None if policy.picking is None else self.endpoints(policy, name, is_grpc(headers))
        if endpoints is not None:
            endpoint = endpoints.of(headers.text(DESTINATION_ENDPOINT).partition(",")[0])
            if endpoint is None:
                return None
            breaker: Breaker = endpoint
        elif known is not None and known[0] is policy:
            breaker = known[1]
        elif _is_target(snapshot, name):
            breaker = self._of(policy, name)
        else:
            return None
        one = breaker.begin_stream(now, 1 / share) if STREAMED in metadata else breaker.begin(now, 1 / share)
        return breaker, one

    def served(self, breaker: Breaker, one: InFlight, endpoint: str, now: float) -> tuple[Breaker, InFlight] | None:
        """The endpoint answers a request: another one than was picked first, where Envoy could not reach that. As
        ``begin``.
        """
        if not isinstance(breaker, EndpointBreaker) or breaker.endpoint == endpoint:
            return breaker, one
        waits = one.waiting
        breaker.end(one, now)
        other = breaker.owner.of(endpoint)
        if other is None:
            return None
        return other, (other.begin_stream(now, one.weight) if waits else other.begin(now, one.weight))

    def account(self, snapshot: Snapshot, account: RequestAccount) -> None:
        """What Envoy tells of an observed answer: one that its server broke off is seen to end, and no more."""
        if not account.observed or account.failure not in FAILED_AFTER_STATUS:
            return
        policy = snapshot.by_name.get(account.policy)
        if policy is None or policy.breaker is None:
            return
        version, pool = ("" if name in (NONE, OTHER) else name for name in (account.version, account.gpu_pool))
        if not _is_target(snapshot, name := (policy.name, version, pool)):
            return
        present = [all_of for grpc in (False, True) if (all_of := self.endpoints(policy, name, grpc)) is not None]
        for all_of in present:
            endpoint = all_of.of(account.served)
            if endpoint is not None:
                endpoint.outcome(self._clock(), True)
                return
        if not present:
            self._of(policy, name).outcome(self._clock(), True)

    def describe(self, snapshot: Snapshot) -> dict[Name, tuple[float, float, str, tuple[str, ...]]]:
        """By policy, version and pool: limit, in flight, state, and the endpoints that are ejected where they have
        breakers of their own. Any thread may ask.
        """
        found: dict[Name, tuple[float, float, str, tuple[str, ...]]] = {
            name: (float(int(breaker.limit)), breaker.in_flight, breaker.state, ())
            for name, (_, breaker) in list(self._breakers.items())
            if _is_target(snapshot, name)
        }
        by_name: dict[Name, list[EndpointBreakers]] = {}
        for (name, _), all_of in list(self._endpoints.items()):
            by_name.setdefault(name, []).append(all_of)
        for name, each in by_name.items():
            ejected = tuple(dict.fromkeys(endpoint for all_of in each for endpoint in all_of.ejected()))
            endpoints = {endpoint for all_of in each for endpoint in all_of.addresses}
            state = EJECTED if len(ejected) == len(endpoints) else CLOSED
            found[name] = sum(one.limit() for one in each), sum(one.in_flight() for one in each), state, ejected
        return found

    def _busy(self, policy: Policy, name: Name, grpc: bool, now: float) -> Busy | None:
        endpoints = None if policy.picking is None else self.endpoints(policy, name, grpc)
        return self._of(policy, name).busy(now) if endpoints is None else endpoints.busy(now)

    def _admitted(self, policy: Policy, name: Name, grpc: bool, now: float) -> None:
        """A request goes there: of those with breakers of their endpoints' the pick tells to which."""
        if policy.picking is None or self.endpoints(policy, name, grpc) is None:
            self._of(policy, name).admit(now)

    def _of_target(self, name: Name) -> tuple[EndpointBreakers | None, EndpointBreakers | None]:
        """As ``_present`` has it."""
        policy = self._snapshot.by_name.get(name[0])
        target = next(one for one in self._snapshot.targets[name[:2]] if one.pool == name[2])
        if policy is None or policy.picking is None or policy.breaker is None:
            return None, None
        bounds, found = policy.breaker.share(self._processes), []
        for grpc in [False, True] if target.grpc_endpoints else [False]:
            addresses, all_of = target.present(grpc=grpc), None
            if addresses and all(is_address(endpoint) for endpoint in addresses):
                all_of = self._endpoints.get((name, grpc)) or EndpointBreakers(self._clock, self._unreachable)
                all_of.follow(addresses, bounds, _promised(policy))
                self._endpoints[name, grpc] = all_of
            found.append(all_of)
        return found[0], found[-1]

    def _of(self, policy: Policy, name: Name) -> Breaker:
        found = self._breakers.get(name)
        if found is not None and found[0] is policy:
            return found[1]
        bounds = (policy.breaker or CircuitBreaker()).share(self._processes)
        breaker = Breaker(bounds) if found is None else found[1]
        breaker.set_bounds(bounds)
        breaker.promised = _promised(policy)
        if found is None and len(self._breakers) >= MAX_TARGETS:
            for idle in [n for n, (_, one) in self._breakers.items() if not one.in_flight and one.state == CLOSED]:
                del self._breakers[idle]
        self._breakers[name] = (policy, breaker)
        return breaker


def _promised(policy: Policy) -> float:
    return policy.slo.first_token.under if policy.slo and policy.slo.first_token else 0.0


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
