"""The demo's checks: pure functions over the evidence.

A check with nothing to check fails, since it would hold whatever happened.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from extproc import headers
from extproc.demo.evidence import Evidence
from extproc.demo.traffic import SPOOFER, TESTER, UNMATCHED, USER, Answer, timings

FALSE_ALARM = 1e-4
"""Highest probability that a right split is reported as wrong."""

ROUNDING = 1.0
"""Milliseconds: the resolution of Envoy's times."""


class Check(msgspec.Struct, frozen=True):
    """One claim and whether it holds."""

    name: str
    ok: bool
    detail: str


def verify(evidence: Evidence) -> list[Check]:
    """Every claim of the demo."""
    return [check(evidence) for check in CHECKS]


def settled(evidence: Evidence) -> bool:
    """Whether the counters have caught up with the requests."""
    return _counters(evidence).ok and evidence.counters.unmatched == len(evidence.answers_to(UNMATCHED))


def bounds(n: int, p: float, alpha: float = FALSE_ALARM) -> tuple[int, int]:
    """Bounds outside of which a binomial count falls with probability ``alpha`` at most: exact, equal tails."""
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


def judge(name: str, subjects: int, faults: Sequence[str], fine: str) -> Check:
    """The check of this name: ``faults`` are those of so many ``subjects``; ``fine`` is what is said without any."""
    if not subjects:
        return Check(name, False, "nothing was there to be judged")
    if faults:
        return Check(name, False, f"{len(faults)} faults: {'; '.join(faults[:3])}")
    return Check(name, True, fine)


def _answers(evidence: Evidence) -> Check:
    """Every request for a model with a policy gets a good answer."""
    answers = evidence.answers_to(USER, TESTER, SPOOFER)
    faults = [
        f"{a.request.id} {a.request.kind} got {a.status} {a.error}" for a in answers if a.status != 200 or a.error
    ]
    return judge("no errors", len(answers), faults, f"{len(answers)} answers, every one complete and right")


def _split(evidence: Evidence) -> Check:
    """Each version has its share of the users, within what chance allows. Requests follow their users."""
    faults, texts, subjects = [], [], 0
    for model in dict.fromkeys(a.model for a in evidence.targets):
        weights = {a.version: a.weight for a in evidence.targets if a.model == model}
        if len(weights) < 2:
            continue
        version_of = {
            a.request.user: evidence.version_of(a) for a in evidence.answers_to(USER) if a.request.model == model
        }
        users = Counter(version_of.values())
        subjects += len(version_of)
        for version, weight in weights.items():
            low, high = bounds(len(version_of), weight)
            texts.append(f"{version} {users[version]} ({low} to {high} expected)")
            if not low <= users[version] <= high:
                faults.append(texts[-1])
    return judge("split as the weights say", subjects, faults, f"{subjects} users: {', '.join(texts)}")


def _sticky(evidence: Evidence) -> Check:
    """All of a user's requests for a model go to the same version, forged headers or not."""
    versions = defaultdict(list)
    for answer in evidence.answers_to(USER, SPOOFER):
        versions[answer.request.user, answer.request.model].append(evidence.version_of(answer))
    several = {key: found for key, found in versions.items() if len(found) > 1}
    faults = [f"{user} got {sorted(set(found))} of {m}" for (user, m), found in several.items() if len(set(found)) > 1]
    fine = f"{len({user for user, _ in several})} users asked more than once and met one version each"
    return judge("sticky users", len(several), faults, fine)


def _pin(evidence: Evidence) -> Check:
    """A tester gets the version that they pin."""
    answers = evidence.answers_to(TESTER)
    wanted = {a.request.id: dict(a.request.claims)[headers.MODEL_VERSION] for a in answers}
    faults = [
        f"{a.request.id} got {evidence.version_of(a)!r}"
        for a in answers
        if evidence.version_of(a) != wanted[a.request.id]
    ]
    fine = f"{len(answers)} requests pinned, all on {' and '.join(sorted(set(wanted.values())))}"
    return judge("pinned tester", len(answers), faults, fine)


def _claims(evidence: Evidence) -> Check:
    """No forged routing header reaches a model server or comes back to the client."""
    received = evidence.received_by_id()
    answers = evidence.answers_to(SPOOFER)
    faults = [
        f"{a.request.id} claimed {name}: {value} and was believed"
        for a in answers
        for name, value in a.request.claims
        if a.headers.get(name) == value or any(value in r.routing.get(name, ()) for r in received.get(a.request.id, ()))
    ]
    return judge("false claims", len(answers), faults, f"{len(answers)} requests with forged headers, none believed")


def _headers(evidence: Evidence) -> Check:
    """The server got the routing headers of the target that the client was told, each once, and no others."""
    received = evidence.received_by_id()
    answers = evidence.answers_to(USER, TESTER, SPOOFER)
    faults = []
    for answer in answers:
        target, got = evidence.target_of(answer), received.get(answer.request.id, [])
        due = target and {
            headers.MODEL_NAME: [target.model],
            headers.MODEL_VERSION: [target.version],
            headers.GPU_POOL: [target.pool],
            headers.GPU_ARCHITECTURE: [target.architecture],
        }
        if len(got) != 1:
            faults.append(f"{answer.request.id} arrived {len(got)} times")
        elif due is None or answer.headers.get(headers.MODEL_NAME) != answer.request.model:
            faults.append(f"{answer.request.id} was told {answer.headers}")
        elif got[0].routing != due:
            faults.append(f"{answer.request.id} arrived with {got[0].routing}, not {due}")
    fine = f"{len(answers)} requests arrived once, with the headers that the client was told"
    return judge("headers upstream", len(answers), faults, fine)


def _places(evidence: Evidence) -> Check:
    """Each request went to the server of its version and pool, under the name that the model has there."""
    received = evidence.received_by_id()
    answers = [
        (a, target, r)
        for a in evidence.answers
        if (target := evidence.target_of(a))
        for r in received.get(a.request.id, ())
    ]
    faults = [
        f"{a.request.id} for {target.cluster} went to {r.endpoint} as {r.model}"
        for a, target, r in answers
        if r.endpoint not in target.endpoints or r.model != target.upstream_model
    ]
    fine = "; ".join(
        f"{a.version} on {a.pool}" + (f" as {a.upstream_model}" if a.upstream_model != a.model else "")
        for a in evidence.targets
    )
    return judge("GPU pools and rewrites", len(answers), faults, fine)


def _timing(evidence: Evidence) -> Check:
    """Every answer has a ``server-timing``, and it fits into what the client measured."""
    answers = evidence.answers_to(USER, TESTER, SPOOFER)
    faults = []
    for answer in answers:
        found = timings(answer.headers.get("server-timing", ""))
        if not {"route", "upstream", "total"} <= set(found) or found["total"] > answer.seconds * 1000 + 1:
            faults.append(f"{answer.request.id} took {answer.seconds * 1000:.0f} ms and was told {found}")
    return judge("server-timing", len(answers), faults, "on every answer, within the time that the client measured")


def _counters(evidence: Evidence) -> Check:
    """Client, model servers, Envoy and processor count the same for every target."""
    counters = evidence.counters
    where = {a.request.id: target.cluster for a in evidence.answers if (target := evidence.target_of(a))}
    client = Counter(where.values())
    servers = Counter(where[r.request_id] for r in evidence.received if r.request_id in where)
    # Envoy also counts unmatched requests, which pass on to some server.
    passed_on = Counter(r.endpoint for r in evidence.received if r.request_id not in where)
    faults = []
    for target in evidence.targets:
        name = target.cluster
        envoy = counters.envoy.get(name, 0) - sum(passed_on[endpoint] for endpoint in target.endpoints)
        counts = (client[name], servers[name], envoy, counters.processor.get(name, 0))
        if len(set(counts)) > 1:
            faults.append("{}: client {}, servers {}, Envoy {}, processor {}".format(name, *counts))
    fine = ", ".join(str(client[target.cluster]) for target in evidence.targets)
    total = sum(client.values())
    return judge("counters agree", total, faults, f"client, servers, Envoy and processor each count {fine}")


def _first_tokens(evidence: Evidence) -> Check:
    """The processor's times to first token are between the servers' and the clients': it takes neither the role-only
    delta that comes before the first token, nor anything later, for it.
    """
    spent = {s.request_id: s.first_token for s in evidence.usages if s.first_token is not None}
    faults, texts, subjects = [], [], 0
    for target in evidence.targets:
        streams = [a for a in evidence.answers if a.first_token is not None and evidence.target_of(a) == target]
        count, seconds = evidence.counters.first_tokens.get(target.cluster, (0, 0.0))
        if not streams and not count:
            continue
        subjects += len(streams)
        served = [spent[a.request.id] for a in streams if a.request.id in spent]
        if not len(served) == len(streams) == count:
            faults.append(f"{target.cluster}: clients saw {len(streams)}, servers {len(served)}, the processor {count}")
            continue
        low, seen, high = (1000 * total / count for total in (sum(served), seconds, _total_first_token(streams)))
        texts.append(f"{target.version} {seen:.0f} ms (server {low:.0f}, client {high:.0f})")
        if not low - ROUNDING <= seen <= high + ROUNDING:
            faults.append(texts[-1])
    return judge("time to first token", subjects, faults, f"on average {', '.join(texts)}")


def _total_first_token(streams: Sequence[Answer]) -> float:
    return sum(a.first_token or 0.0 for a in streams)


def _tokens(evidence: Evidence) -> Check:
    """The processor counts the tokens that the model servers spent, each of them."""
    where = {a.request.id: target.cluster for a in evidence.answers if (target := evidence.target_of(a))}
    spent: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in evidence.usages:
        if name := where.get(one.request_id):
            spent[name] = (spent[name][0] + one.input_tokens, spent[name][1] + one.output_tokens)
    faults = [
        f"{target.cluster}: servers spent {spent[target.cluster]}, the processor counts {found}"
        for target in evidence.targets
        if (found := evidence.counters.tokens.get(target.cluster, (0, 0))) != spent[target.cluster]
    ]
    inputs, outputs = (sum(counts[n] for counts in spent.values()) for n in (0, 1))
    return judge("tokens", inputs, faults, f"{inputs} of prompts and {outputs} of answers, as the servers spent them")


def _unmatched(evidence: Evidence) -> Check:
    """A model that no policy owns passes on without routing headers, gets a server's own 404, and is counted."""
    received = evidence.received_by_id()
    answers = evidence.answers_to(UNMATCHED)
    faults = []
    for answer in answers:
        got = received.get(answer.request.id, [])
        if answer.status != 404 or set(answer.headers) & set(headers.ROUTING):
            faults.append(f"{answer.request.id} got {answer.status} and was told {answer.headers}")
        elif len(got) != 1 or got[0].routing or got[0].model != answer.request.model:
            faults.append(f"{answer.request.id} arrived as {got}")
    if evidence.counters.unmatched != len(answers):
        faults.append(f"the processor counted {evidence.counters.unmatched}")
    fine = f"{len(answers)} requests for {answers[0].request.model} passed on untouched, counted" if answers else ""
    return judge("models without a policy", len(answers), faults, fine)


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
    _unmatched,
)
