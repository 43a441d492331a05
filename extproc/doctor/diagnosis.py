"""Evidence in, findings out: is the processor attached, in its place, reachable, and does it work.

Floor 4: imports ``doctor.dump`` and what Istio's linter knows of filter chains. Counters are of the time since Envoy
started: a finding that rests on one may tell of something that is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from extproc.doctor.dump import Chain, Dump, Evidence, HttpFilter, at, rows
from extproc.findings import Finding, Rule
from extproc.lint.placement import AFTER_AUTHENTICATION, BEFORE_ROUTE_IS_USED, CHAIN

NOT_ATTACHED = Rule(
    "AIM701",
    "error",
    "not attached: no listener has an ext_proc filter",
    "Requests are answered as if there were no processor, with 200: nothing else tells.",
    "see that the EnvoyFilter selects this proxy and its anchor exists: extproc check --istio FILE; istiod's metric "
    "pilot_envoy_filter_status",
)
WRONG_ORDER = Rule(
    "AIM702",
    "error",
    "wrong order",
    "A processor that routes belongs after all authentication, and before what uses the route.",
    "anchor on envoy.filters.http.grpc_stats with INSERT_BEFORE",
)
OBSERVER_FIRST = Rule(
    "AIM703",
    "error",
    "the observer stands before the filter that routes",
    "It sees the request without model, version and pool: its metrics have neither.",
    "put it after the other",
)
NO_CLUSTER = Rule(
    "AIM704",
    "error",
    "the processor's cluster is missing",
    "Every call fails: requests pass unprocessed, or get 500. Old Envoys let them pass even where "
    "`failure_mode_allow` is false.",
    "correct cluster_name; in Istio it is outbound|PORT||HOST, and a Sidecar may have to import the host",
)
NO_HTTP2 = Rule(
    "AIM705",
    "error",
    "the processor's cluster speaks HTTP/1.1",
    "gRPC needs HTTP/2: every call fails.",
    "name the Service's port grpc, or give the cluster http2_protocol_options",
)
DOWN = Rule(
    "AIM706",
    "error",
    "the processor is down",
    "No endpoint of its cluster can be used.",
    "start it (extproc serve), look at its /readyz, and at the network and mutual TLS between",
)
FAILED_OPEN = Rule(
    "AIM707",
    "error",
    "failing open",
    "Requests passed unprocessed: routed by default, without version and pool, or unseen by the observer.",
    "see why the processor did not answer: its log, its latency, message_timeout; the counter is since Envoy's start",
)
FAILED_CLOSED = Rule(
    "AIM708",
    "error",
    "failing closed",
    "Requests got an error because the processor did not answer.",
    "see why: its log, its latency, message_timeout; the counter is since Envoy's start",
)
TIMEOUTS = Rule(
    "AIM709",
    "error",
    "the processor answers too late",
    "Each is a request that passed unprocessed or failed.",
    "raise message_timeout (the default is 200 ms), or add processors",
)
REJECTED = Rule(
    "AIM710",
    "error",
    "header mutations are rejected",
    "`mutation_rules` do not allow what the processor sets: the request goes on without it.",
    "allow its headers: mutation_rules: {disallow_all: true, allow_expression: {regex: '^x-(model|gpu)-.*'}} and those "
    "that a modelRewrite changes",
)
NOT_CLEARED = Rule(
    "AIM711",
    "warning",
    "replies that were to clear the route cache did not",
    "Envoy ignores clear_route_cache in a reply without a header mutation, or where the filter forbids it.",
    "write route_cache_action: CLEAR, and remove disable_clear_route_cache",
)
SPURIOUS = Rule(
    "AIM712",
    "error",
    "the processor says what Envoy did not ask",
    "Another protocol than the filter's processing_mode expects: Envoy drops such a stream.",
    "use the same processing_mode as the processor does, and no other server at that port",
)
SPOOFABLE = Rule(
    "AIM713",
    "error",
    "clients' own routing headers are believed",
    "Nothing removes headers before a route is chosen: anybody picks a version, most of all while the processor is "
    "down.",
    "add early_header_mutation_extensions with {remove: NAME} for each routing header to the connection manager",
)
SWITCHED_OFF = Rule(
    "AIM714",
    "error",
    "attached and switched off",
    "`disabled: true` leaves the filter out, and no route of the listener switches it on.",
    "give the model hosts typed_per_filter_config with its name",
)
NEVER_ASKED = Rule(
    "AIM715",
    "warning",
    "attached, and never asked",
    "The listener had requests, none of which went through the filter.",
    "see whether those requests were for hosts on which it is switched on",
)
UPDATE_REFUSED = Rule(
    "AIM716",
    "error",
    "Envoy refused its newest configuration",
    "It goes on with the one before, or without.",
    "correct what it names; for a listener that is often a filter after the router",
)
NO_ROOM = Rule(
    "AIM717",
    "error",
    "the circuit breaker of the processor's cluster was open",
    "Each open stream counts as a request, an observer's as long as the model's answer; beyond the limit calls fail.",
    "raise circuit_breakers.thresholds max_requests and max_pending_requests (the default is 1024)",
)
NO_STATS = Rule(
    "AIM718",
    "warning",
    "Envoy keeps no statistics of ext_proc",
    "Whether it failed open can't be told. Istio's proxies leave them out unless asked.",
    "annotate the pod: proxy.istio.io/config: '{proxyStatsMatcher: {inclusionRegexps: [\".*ext_proc.*\"]}}'",
)
RULES = (
    *(NOT_ATTACHED, WRONG_ORDER, OBSERVER_FIRST, NO_CLUSTER, NO_HTTP2, DOWN, FAILED_OPEN, FAILED_CLOSED, TIMEOUTS),
    *(REJECTED, NOT_CLEARED, SPURIOUS, SPOOFABLE, SWITCHED_OFF, NEVER_ASKED, UPDATE_REFUSED, NO_ROOM, NO_STATS),
)

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_COUNTED = (
    ("message_timeouts", TIMEOUTS),
    ("rejected_header_mutations", REJECTED),
    ("clear_route_cache_ignored", NOT_CLEARED),
    ("spurious_msgs_received", SPURIOUS),
)
_UNUSABLE = (
    "failed_active_health_check",
    "failed_outlier_check",
    "failed_active_degraded_check",
    "pending_dynamic_removal",
)


def diagnose(evidence: Evidence, source: str) -> list[Finding]:
    """What is wrong. ``source``: who was asked, for the findings. Raises ``SetupError`` for no config_dump."""
    dump = Dump(evidence.config_dump)
    found = [_about(UPDATE_REFUSED, source, name, f"refused: {why}") for name, why in dump.refused]
    chains = [chain for chain in dump.chains if any(f.is_processor for f in chain.filters)]
    if not chains:
        count = len(dump.chains)
        found.append(_about(NOT_ATTACHED, source, "", f"not attached: none of {count} HTTP filter chains has ext_proc"))
    for chain in chains:
        found += _order(chain, source)
        for item in chain.filters:
            if item.is_processor:
                found += _filter(chain, item, evidence.stats, source)
    for name in sorted({f.cluster for chain in chains for f in chain.filters if f.is_processor and f.cluster}):
        found += _cluster(name, dump.clusters.get(name), evidence, source)
    return list(dict.fromkeys(found))


def healthy(evidence: Evidence) -> str:
    """One line on what was found in order."""
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


def _about(rule: Rule, source: str, subject: str, message: str) -> Finding:
    return rule.at(source, 0, path=subject, message=message)


def _order(chain: Chain, source: str) -> Iterator[Finding]:
    names = [f.name for f in chain.filters]
    processors = [(place, f) for place, f in enumerate(chain.filters) if f.is_processor]
    routers = [f.name for _, f in processors if not f.observes]
    for place, item in processors:
        before, after, subject = names[:place], names[place + 1 :], f"{chain.listener}: {item.name}"
        late = [name for name in before if name in CHAIN and CHAIN.index(name) >= BEFORE_ROUTE_IS_USED]
        early = [name for name in after if name in CHAIN and CHAIN.index(name) <= AFTER_AUTHENTICATION]
        if early:
            message = f"wrong order: {', '.join(early)} comes after it, so it sees requests of anybody"
            yield _about(WRONG_ORDER, source, subject, message)
        if late and not item.observes:
            message = f"wrong order: {', '.join(late)} has used the old route before it"
            yield _about(WRONG_ORDER, source, subject, message)
        if item.observes and any(name in after for name in routers):
            yield _about(OBSERVER_FIRST, source, subject, "")
    if routers and not chain.cleans:
        yield _about(SPOOFABLE, source, f"{chain.listener}: {routers[0]}", "")


def _filter(chain: Chain, item: HttpFilter, stats: Mapping[str, int] | None, source: str) -> Iterator[Finding]:
    subject = f"{chain.listener}: {item.name}"
    if item.disabled and not chain.switched_on(item.name):
        yield _about(SWITCHED_OFF, source, subject, "")
    if stats is None:
        return
    own = str(item.config.get("stat_prefix") or "")
    prefix = f"http.{chain.stat_prefix}.ext_proc.{own + '.' if own else ''}"
    counters = {name.removeprefix(prefix): value for name, value in stats.items() if name.startswith(prefix)}
    if not counters:
        yield _about(NO_STATS, source, subject, "")
        return
    allowed, failed = counters.get("failure_mode_allowed", 0), counters.get("streams_failed", 0)
    if allowed:
        yield _about(FAILED_OPEN, source, subject, f"failing open: {_requests(allowed)} passed unprocessed")
    elif failed:
        yield _about(FAILED_CLOSED, source, subject, f"failing closed: {_requests(failed)} met no processor")
    for name, rule in _COUNTED:
        if count := counters.get(name, 0):
            yield _about(rule, source, subject, f"{rule.title} ({name} {count})")
    requests = stats.get(f"http.{chain.stat_prefix}.downstream_rq_completed", 0)
    if requests and not any(
        counters.get(name) for name in ("streams_started", "streams_failed", "failure_mode_allowed")
    ):
        yield _about(NEVER_ASKED, source, subject, f"attached, and never asked in {_requests(requests)}")


def _cluster(name: str, cluster: Mapping[str, Any] | None, evidence: Evidence, source: str) -> Iterator[Finding]:
    subject = f"cluster {name}"
    if cluster is None:
        yield _about(NO_CLUSTER, source, subject, "")
        return
    if not _http2(cluster):
        yield _about(NO_HTTP2, source, subject, "")
    statuses = rows(evidence.clusters, "cluster_statuses")
    status = next((s for s in statuses if s.get("name") == name), None)
    if status is not None:
        hosts = rows(status, "host_statuses")
        usable = [host for host in hosts if not _unusable(host)]
        if not usable:
            message = f"the processor is down: none of {len(hosts)} endpoints can be used ({_why(hosts)})"
            yield _about(DOWN, source, subject, message)
    stats = evidence.stats or {}
    overflow = stats.get(f"cluster.{name}.upstream_rq_pending_overflow", 0)
    if overflow:
        yield _about(NO_ROOM, source, subject, f"the circuit breaker refused {_requests(overflow)}")


def _http2(cluster: Mapping[str, Any]) -> bool:
    options = at(cluster, "typed_extension_protocol_options", _HTTP_OPTIONS)
    ways = [at(options, way) for way in ("explicit_http_config", "use_downstream_protocol_config", "auto_config")]
    return any(at(where, "http2_protocol_options") is not None for where in (cluster, *ways))


def _unusable(host: Mapping[str, Any]) -> bool:
    """Whether Envoy does not use an endpoint, or can't connect to it though it would."""
    return any(at(host, "health_status", reason) for reason in _UNUSABLE) or _unreachable(host) > 0


def _unreachable(host: Mapping[str, Any]) -> int:
    """How many connections failed, where there is none now."""
    numbers = {str(stat.get("name")): str(stat.get("value", "0")) for stat in rows(host, "stats")}
    active, failed = numbers.get("cx_active", "0"), numbers.get("cx_connect_fail", "0")
    return int(failed) if active == "0" and failed.isascii() and failed.isdecimal() else 0


def _why(hosts: Sequence[Mapping[str, Any]]) -> str:
    reasons = [reason for host in hosts for reason in _UNUSABLE if at(host, "health_status", reason)]
    if failed := sum(map(_unreachable, hosts)):
        reasons.append(f"no connection, {failed} failed")
    return ", ".join(dict.fromkeys(reasons)).replace("_", " ") or "it has none"


def _requests(count: int) -> str:
    return f"{count} request{'s' * (count != 1)}"
