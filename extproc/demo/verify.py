"""What the demo claims, checked: pure functions over the evidence.

A check that finds nothing to judge fails: it would hold whatever happened.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from extproc import headers
from extproc.demo.evidence import Evidence
from extproc.demo.traffic import INTRUDER, STRANGER, TESTER, USER, Answer, timings

FALSE_ALARM = 1e-4
"""How often at most the split may be called wrong by mere chance."""

ROUNDING = 1.0
"""Milliseconds: Envoy tells no less."""


class Check(msgspec.Struct, frozen=True):
    """One claim and whether it holds."""

    name: str
    ok: bool
    detail: str


def verify(evidence: Evidence) -> list[Check]:
    """Every claim of the demo."""
    return [check(evidence) for check in CHECKS]


def settled(evidence: Evidence) -> bool:
    """Whether the counters have caught up with what happened."""
    return _counters(evidence).ok and evidence.counters.unmatched == len(evidence.by(STRANGER))


def bounds(n: int, p: float, alpha: float = FALSE_ALARM) -> tuple[int, int]:
    """Outside of these a binomial count falls with probability ``alpha`` at most: exact, both tails alike."""
    if not 0 < p < 1:
        return round(n * p), round(n * p)
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(n + 1)
    ]

    def reach(tail: Iterable[float]) -> int:
        total = 0.0
        for k, log in enumerate(tail):
            total += math.exp(log)
            if total > alpha / 2:
                return k
        return n

    return reach(logs), n - reach(reversed(logs))


def _judge(name: str, subjects: int, faults: Sequence[str], fine: str) -> Check:
    if not subjects:
        return Check(name, False, "nothing was there to be judged")
    if faults:
        return Check(name, False, f"{len(faults)} faults: {'; '.join(faults[:3])}")
    return Check(name, True, fine)


def _answers(evidence: Evidence) -> Check:
    """Everyone whose model has a policy gets a good answer."""
    asked = evidence.by(USER, TESTER, INTRUDER)
    faults = [f"{a.ask.id} {a.ask.kind} got {a.status} {a.error}" for a in asked if a.status != 200 or a.error]
    return _judge("no errors", len(asked), faults, f"{len(asked)} answers, every one complete and right")


def _split(evidence: Evidence) -> Check:
    """Each version has its share of the users, within what chance allows. Requests follow their users."""
    faults, texts, subjects = [], [], 0
    for model in dict.fromkeys(a.model for a in evidence.arms):
        weights = {a.version: a.weight for a in evidence.arms if a.model == model}
        if len(weights) < 2:
            continue
        version_of = {a.ask.user: evidence.told(a) for a in evidence.by(USER) if a.ask.model == model}
        users = Counter(version_of.values())
        subjects += len(version_of)
        for version, weight in weights.items():
            low, high = bounds(len(version_of), weight)
            texts.append(f"{version} {users[version]} ({low} to {high} expected)")
            if not low <= users[version] <= high:
                faults.append(texts[-1])
    return _judge("split as the weights say", subjects, faults, f"{subjects} users: {', '.join(texts)}")


def _sticky(evidence: Evidence) -> Check:
    """Whatever a user asks of a model, the same version answers. False claims change nothing about it."""
    versions = defaultdict(list)
    for answer in evidence.by(USER, INTRUDER):
        versions[answer.ask.user, answer.ask.model].append(evidence.told(answer))
    several = {key: told for key, told in versions.items() if len(told) > 1}
    faults = [f"{user} got {sorted(set(told))} of {m}" for (user, m), told in several.items() if len(set(told)) > 1]
    fine = f"{len({user for user, _ in several})} users asked more than once and met one version each"
    return _judge("sticky users", len(several), faults, fine)


def _pin(evidence: Evidence) -> Check:
    """A tester gets the version that they pin."""
    asked = evidence.by(TESTER)
    wanted = {a.ask.id: dict(a.ask.claims)[headers.MODEL_VERSION] for a in asked}
    faults = [f"{a.ask.id} got {evidence.told(a)!r}" for a in asked if evidence.told(a) != wanted[a.ask.id]]
    fine = f"{len(asked)} requests pinned, all on {' and '.join(sorted(set(wanted.values())))}"
    return _judge("pinned tester", len(asked), faults, fine)


def _claims(evidence: Evidence) -> Check:
    """Nothing that an intruder claims is believed: told to the model server, or to the client."""
    arrived = evidence.arrived()
    asked = evidence.by(INTRUDER)
    faults = [
        f"{a.ask.id} claimed {name}: {value} and was believed"
        for a in asked
        for name, value in a.ask.claims
        if a.told.get(name) == value or any(value in r.routing.get(name, ()) for r in arrived.get(a.ask.id, ()))
    ]
    return _judge("false claims", len(asked), faults, f"{len(asked)} requests with forged headers, none believed")


def _headers(evidence: Evidence) -> Check:
    """The server got exactly the headers that are due for what the client was told: each once, no other."""
    arrived = evidence.arrived()
    asked = evidence.by(USER, TESTER, INTRUDER)
    faults = []
    for answer in asked:
        arm, got = evidence.arm(answer), arrived.get(answer.ask.id, [])
        due = arm and {
            headers.MODEL_NAME: [arm.model],
            headers.MODEL_VERSION: [arm.version],
            headers.GPU_POOL: [arm.pool],
            headers.GPU_ARCHITECTURE: [arm.architecture],
        }
        if len(got) != 1:
            faults.append(f"{answer.ask.id} arrived {len(got)} times")
        elif due is None or answer.told.get(headers.MODEL_NAME) != answer.ask.model:
            faults.append(f"{answer.ask.id} was told {answer.told}")
        elif got[0].routing != due:
            faults.append(f"{answer.ask.id} arrived with {got[0].routing}, not {due}")
    fine = f"{len(asked)} requests arrived once, with the headers that the client was told"
    return _judge("headers upstream", len(asked), faults, fine)


def _places(evidence: Evidence) -> Check:
    """Each request went to the server of its version and pool, under the name that the model has there."""
    arrived = evidence.arrived()
    asked = [(a, arm, r) for a in evidence.answers if (arm := evidence.arm(a)) for r in arrived.get(a.ask.id, ())]
    faults = [
        f"{a.ask.id} for {arm.cluster} went to {r.endpoint} as {r.model}"
        for a, arm, r in asked
        if r.endpoint not in arm.endpoints or r.model != arm.upstream_model
    ]
    fine = "; ".join(
        f"{a.version} on {a.pool}" + (f" as {a.upstream_model}" if a.upstream_model != a.model else "")
        for a in evidence.arms
    )
    return _judge("GPU pools and rewrites", len(asked), faults, fine)


def _timing(evidence: Evidence) -> Check:
    """Every answer has a ``server-timing``, and it fits into what the client measured."""
    asked = evidence.by(USER, TESTER, INTRUDER)
    faults = []
    for answer in asked:
        found = timings(answer.told.get("server-timing", ""))
        if not {"route", "upstream", "total"} <= set(found) or found["total"] > answer.seconds * 1000 + 1:
            faults.append(f"{answer.ask.id} took {answer.seconds * 1000:.0f} ms and was told {found}")
    return _judge("server-timing", len(asked), faults, "on every answer, within the time that the client measured")


def _counters(evidence: Evidence) -> Check:
    """Four who counted on their own agree for every place: client, model servers, Envoy, processor."""
    counters = evidence.counters
    where = {a.ask.id: arm.cluster for a in evidence.answers if (arm := evidence.arm(a))}
    client = Counter(where.values())
    servers = Counter(where[r.request_id] for r in evidence.received if r.request_id in where)
    # Envoy also counts what is nobody's and passes on to some server.
    passed_on = Counter(r.endpoint for r in evidence.received if r.request_id not in where)
    faults = []
    for arm in evidence.arms:
        name = arm.cluster
        envoy = counters.envoy.get(name, 0) - sum(passed_on[endpoint] for endpoint in arm.endpoints)
        counts = (client[name], servers[name], envoy, counters.processor.get(name, 0))
        if len(set(counts)) > 1:
            faults.append("{}: client {}, servers {}, Envoy {}, processor {}".format(name, *counts))
    fine = ", ".join(str(client[arm.cluster]) for arm in evidence.arms)
    total = sum(client.values())
    return _judge("counters agree", total, faults, f"client, servers, Envoy and processor each count {fine}")


def _first_tokens(evidence: Evidence) -> Check:
    """Times to first token are between what the model servers know and what the clients saw: neither the role-only
    delta that comes before, nor anything later, was taken for it.
    """
    spent = {s.request_id: s.first_token for s in evidence.spent if s.first_token is not None}
    faults, texts, subjects = [], [], 0
    for arm in evidence.arms:
        streams = [a for a in evidence.answers if a.first_token is not None and evidence.arm(a) == arm]
        count, seconds = evidence.counters.first_tokens.get(arm.cluster, (0, 0.0))
        if not streams and not count:
            continue
        subjects += len(streams)
        served = [spent[a.ask.id] for a in streams if a.ask.id in spent]
        if not len(served) == len(streams) == count:
            faults.append(f"{arm.cluster}: clients saw {len(streams)}, servers {len(served)}, the processor {count}")
            continue
        low, seen, high = (1000 * total / count for total in (sum(served), seconds, _saw(streams)))
        texts.append(f"{arm.version} {seen:.0f} ms (server {low:.0f}, client {high:.0f})")
        if not low - ROUNDING <= seen <= high + ROUNDING:
            faults.append(texts[-1])
    return _judge("time to first token", subjects, faults, f"on average {', '.join(texts)}")


def _saw(streams: Sequence[Answer]) -> float:
    return sum(a.first_token or 0.0 for a in streams)


def _tokens(evidence: Evidence) -> Check:
    """The processor counts the tokens that the model servers spent, each of them."""
    where = {a.ask.id: arm.cluster for a in evidence.answers if (arm := evidence.arm(a))}
    spent: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in evidence.spent:
        if name := where.get(one.request_id):
            spent[name] = (spent[name][0] + one.input_tokens, spent[name][1] + one.output_tokens)
    faults = [
        f"{arm.cluster}: servers spent {spent[arm.cluster]}, the processor counts {found}"
        for arm in evidence.arms
        if (found := evidence.counters.tokens.get(arm.cluster, (0, 0))) != spent[arm.cluster]
    ]
    inputs, outputs = (sum(counts[n] for counts in spent.values()) for n in (0, 1))
    return _judge("tokens", inputs, faults, f"{inputs} of prompts and {outputs} of answers, as the servers spent them")


def _strangers(evidence: Evidence) -> Check:
    """A model that no policy owns passes on without routing headers, gets a server's own 404, and is counted."""
    arrived = evidence.arrived()
    asked = evidence.by(STRANGER)
    faults = []
    for answer in asked:
        got = arrived.get(answer.ask.id, [])
        if answer.status != 404 or set(answer.told) & set(headers.ROUTING):
            faults.append(f"{answer.ask.id} got {answer.status} and was told {answer.told}")
        elif len(got) != 1 or got[0].routing or got[0].model != answer.ask.model:
            faults.append(f"{answer.ask.id} arrived as {got}")
    if evidence.counters.unmatched != len(asked):
        faults.append(f"the processor counted {evidence.counters.unmatched}")
    fine = f"{len(asked)} requests for {asked[0].ask.model} passed on untouched, counted" if asked else ""
    return _judge("models without a policy", len(asked), faults, fine)


CHECKS: Sequence[Callable[[Evidence], Check]] = (
    _answers,
    _split,
    _sticky,
    _pin,
    _claims,
    _headers,
    _places,
    _timing,
    _counters,
    _first_tokens,
    _tokens,
    _strangers,
)
