"""Evidence in, findings out: is the processor attached, in its place, reachable, and does it work.

Counters are of the time since Envoy started: a finding that rests on one may be about something that is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.doctor.envoy_dump import Dump, Evidence, FilterChain, HttpFilter, at, rows
from extproc.doctor.host_health import unusable
from extproc.doctor.rule_catalog import (
    BUFFERED_ANSWERS,
    DOWN,
    FAILED_CLOSED,
    FAILED_OPEN,
    NEVER_ASKED,
    NO_CLUSTER,
    NO_HTTP2,
    NO_ROOM,
    NO_STATS,
    NOT_ATTACHED,
    NOT_CLEARED,
    OBSERVER_FIRST,
    REJECTED,
    SPOOFABLE,
    SPURIOUS,
    SWITCHED_OFF,
    TIMEOUTS,
    UPDATE_REFUSED,
    WRONG_ORDER,
)
from extproc.lint.envoy_filter_order import AFTER_AUTHENTICATION, BEFORE_ROUTE_IS_USED, CHAIN
from extproc.lint.findings import Finding, Rule

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_COUNTERS = (
    ("message_timeouts", TIMEOUTS),
    ("rejected_header_mutations", REJECTED),
    ("clear_route_cache_ignored", NOT_CLEARED),
    ("spurious_msgs_received", SPURIOUS),
)


def diagnose(evidence: Evidence, source: str) -> list[Finding]:
    """What is wrong. ``source``: the Envoy's address, or the file. Raises ``SetupError`` for no config_dump."""
    dump = Dump(evidence.config_dump)
    found = [_finding(UPDATE_REFUSED, source, name, f"refused: {why}") for name, why in dump.refused]
    chains = [chain for chain in dump.chains if any(f.is_processor for f in chain.filters)]
    if not chains:
        count = len(dump.chains)
        found.append(
            _finding(NOT_ATTACHED, source, "", f"not attached: none of {count} HTTP filter chains has ext_proc")
        )
    for chain in chains:
        found += _order(chain, source)
        for item in chain.filters:
            if item.is_processor:
                found += _filter(chain, item, evidence.stats, source)
    for name in sorted({f.cluster for chain in chains for f in chain.filters if f.is_processor and f.cluster}):
        found += _cluster(name, dump.clusters.get(name), evidence, source)
    return list(dict.fromkeys(found))


def summary(evidence: Evidence) -> str:
    """One line on an Envoy in which nothing is wrong."""
    dump = Dump(evidence.config_dump)
    chains = [chain for chain in dump.chains if any(f.is_processor for f in chain.filters)]
    names = list(dict.fromkeys(f.name for chain in chains for f in chain.filters if f.is_processor))
    listeners = list(dict.fromkeys(chain.listener for chain in chains))
    started = sum(v for k, v in (evidence.stats or {}).items() if ".ext_proc." in k and k.endswith(".streams_started"))
    clusters = sorted({f.cluster for chain in chains for f in chain.filters if f.is_processor})
    asked = f", asked {started} times" if evidence.stats is not None else ""
    version = str((evidence.server or {}).get("version", "")).split("/")[1:2]
    envoy = f"Envoy {version[0]}: " if version else ""
    return f"{envoy}{', '.join(names)} on {', '.join(listeners)}, processor at {', '.join(clusters)}{asked}"


def _finding(rule: Rule, source: str, subject: str, message: str) -> Finding:
    return rule.at(source, 0, path=subject, message=message)


def _subject(chain: FilterChain, name: str) -> str:
    return f"listener {chain.listener}, filter {name}"


def _order(chain: FilterChain, source: str) -> Iterator[Finding]:
    names = [f.name for f in chain.filters]
    processors = [(place, f) for place, f in enumerate(chain.filters) if f.is_processor]
    routers = [f.name for _, f in processors if not f.observes and chain.sees_requests(f)]
    for place, item in processors:
        before, after, subject = names[:place], names[place + 1 :], _subject(chain, item.name)
        late = [name for name in before if name in CHAIN and CHAIN.index(name) >= BEFORE_ROUTE_IS_USED]
        early = [name for name in after if name in CHAIN and CHAIN.index(name) <= AFTER_AUTHENTICATION]
        if early and chain.sees_requests(item):
            message = f"wrong order: {', '.join(early)} comes after it, so it sees requests of anybody"
            yield _finding(WRONG_ORDER, source, subject, message)
        if late and item.name in routers:
            message = f"wrong order: {', '.join(late)} has used the old route before it"
            yield _finding(WRONG_ORDER, source, subject, message)
        if item.observes and any(name in after for name in routers):
            yield _finding(OBSERVER_FIRST, source, subject, "")
    if routers and not chain.cleans:
        yield _finding(SPOOFABLE, source, _subject(chain, routers[0]), "")


def _filter(chain: FilterChain, item: HttpFilter, stats: Mapping[str, int] | None, source: str) -> Iterator[Finding]:
    subject = _subject(chain, item.name)
    if item.disabled and not chain.switched_on(item.name):
        yield _finding(SWITCHED_OFF, source, subject, "")
    answers = {str(modes.get("response_body_mode")) for modes in chain.modes(item)}
    if not item.observes and (buffered := sorted(mode for mode in answers if mode.startswith("BUFFERED"))):
        message = f"buffered answers (response_body_mode {', '.join(buffered)}): streamed ones wait for their end"
        yield _finding(BUFFERED_ANSWERS, source, subject, message)
    if stats is None:
        return
    own = str(item.config.get("stat_prefix") or "")
    whole = f"http.{chain.stat_prefix}."
    prefix = f"{whole}ext_proc.{own + '.' if own else ''}"
    counters = {name.removeprefix(prefix): value for name, value in stats.items() if name.startswith(prefix)}
    if not counters:
        yield _finding(NO_STATS, source, subject, "")
        return
    allowed = counters.get("failure_mode_allowed", 0)
    if allowed:
        passed = "unobserved" if item.observes else "unprocessed"
        yield _finding(FAILED_OPEN, source, subject, f"failing open: {_requests(allowed)} passed {passed}")
    # What failed and was not allowed: the setting may have changed since Envoy started.
    failed = counters.get("streams_failed", 0) + counters.get("message_timeouts", 0) - allowed
    if failed > 0:
        yield _finding(FAILED_CLOSED, source, subject, f"failing closed: {_requests(failed)} met no processor")
    for name, rule in _COUNTERS:
        if count := counters.get(name, 0):
            yield _finding(rule, source, subject, f"{rule.title} ({name} {count})")
    requests = stats.get(f"{whole}downstream_rq_completed", 0)
    if requests and not any(
        counters.get(name) for name in ("streams_started", "streams_failed", "failure_mode_allowed")
    ):
        yield _finding(NEVER_ASKED, source, subject, f"attached, and never asked in {_requests(requests)}")


def _cluster(name: str, cluster: Mapping[str, Any] | None, evidence: Evidence, source: str) -> Iterator[Finding]:
    subject = f"cluster {name}"
    if cluster is None:
        yield _finding(NO_CLUSTER, source, subject, "")
        return
    if not _http2(cluster):
        yield _finding(NO_HTTP2, source, subject, "")
    statuses = rows(evidence.clusters, "cluster_statuses")
    status = next((s for s in statuses if s.get("name") == name), None)
    if status is not None:
        hosts = rows(status, "host_statuses")
        troubles = [unusable(host) for host in hosts]
        if all(troubles):
            why = ", ".join(dict.fromkeys(reason for trouble in troubles for reason in trouble)) or "it has none"
            message = f"the processor is down: none of {len(hosts)} endpoints can be used ({why})"
            yield _finding(DOWN, source, subject, message)
    stats = evidence.stats or {}
    counted = str(cluster.get("alt_stat_name") or name).replace(":", "_")
    overflow = stats.get(f"cluster.{counted}.upstream_rq_pending_overflow", 0)
    if overflow:
        yield _finding(NO_ROOM, source, subject, f"the circuit breaker refused {_requests(overflow)}")


def _http2(cluster: Mapping[str, Any]) -> bool:
    options = at(cluster, "typed_extension_protocol_options", _HTTP_OPTIONS)
    ways = [at(options, way) for way in ("explicit_http_config", "use_downstream_protocol_config", "auto_config")]
    return any(at(where, "http2_protocol_options") is not None for where in (cluster, *ways))


def _requests(count: int) -> str:
    return f"{count} request{'s' * (count != 1)}"
