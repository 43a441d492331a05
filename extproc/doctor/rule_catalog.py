"""What the doctor can find."""

from __future__ import annotations

from extproc.lint.findings import Rule

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
BUFFERED_ANSWERS = Rule(
    "AIM719",
    "error",
    "buffered answers",
    "Envoy holds a streamed answer (SSE) back until its end, and one of more than 1 MiB becomes a 500; "
    "`BUFFERED_PARTIAL` holds back up to that size.",
    "set response_body_mode to NONE, or to STREAMED in a filter with observability_mode; one that changes answers "
    "takes FULL_DUPLEX_STREAMED",
)
RENDERED_BEFORE = Rule(
    "AIM720",
    "error",
    "rendered from other policies than those given",
    "The processor decides by what routes and filters do not know: such requests go by the default route, without a "
    "version, or the filters do not show what it must see.",
    "render the policies and apply it (extproc render istio, or envoy); `extproc up` follows the policies it was given",
)
NO_ACCESS_LOG = Rule(
    "AIM721",
    "error",
    "an observer that leaves counting to an access log which is not there",
    "Its gRPC metadata say `x-aimesh-account: access-log`, and the listener has no gRPC access log to its cluster: no "
    "request is counted.",
    "render the policies and apply all of it (extproc render istio), or see which EnvoyFilter replaces access_log",
)
ENTRIES_LOST = Rule(
    "AIM722",
    "error",
    "entries of the gRPC access log were lost",
    "Requests by which the processor should count are missing in `inference_requests_total`.",
    "see why the processor could not be reached: its log, its replicas; the counter is since Envoy's start, and of all "
    "gRPC access logs",
)
NOT_AS_DECIDED = Rule(
    "AIM723",
    "error",
    "requests went elsewhere than decided",
    "Routes are not what the policy says: clients of one version got another, and count for the one that answered.",
    "render the policies and apply it (extproc render istio); while a change is on its way some are normal, and the "
    "counter is since the processor's start: compare two runs",
)
SERVER_UNUSED = Rule(
    "AIM724",
    "error",
    "a model server is dead or ejected",
    "Envoy sends it nothing, or can't connect to it; while all of a version's are so, another version answers its "
    "users (`onVersionDown`), or they get 503.",
    "start it, or see in its log why it answers 502, 503 or 504; an ejected one gets requests again after 10 s or more",
)
NOT_COMPARED = Rule(
    "AIM725",
    "warning",
    "nothing says what it was rendered from",
    "Whether its filters and routes are of the policies given is not known.",
    "render it anew with this version (extproc render istio, or envoy), or leave -f out",
)
RULES = (
    *(NOT_ATTACHED, WRONG_ORDER, OBSERVER_FIRST, NO_CLUSTER, NO_HTTP2, DOWN, FAILED_OPEN, FAILED_CLOSED, TIMEOUTS),
    *(REJECTED, NOT_CLEARED, SPURIOUS, SPOOFABLE, SWITCHED_OFF, NEVER_ASKED, UPDATE_REFUSED, NO_ROOM, NO_STATS),
    *(BUFFERED_ANSWERS, RENDERED_BEFORE, NO_ACCESS_LOG, ENTRIES_LOST, NOT_AS_DECIDED, SERVER_UNUSED),
    NOT_COMPARED,
)
