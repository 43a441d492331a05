"""EnvoyFilter: how ext_proc filters are configured.

Every filter that sees requests and is without ``observability_mode`` is taken for one that routes; of one that only
guards, AIM103, AIM122 and AIM123 don't matter.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint import cel, envoy_attributes
from extproc.lint.envoy_filter_patches import Processor
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value, camel
from extproc.lint.mesh import Mesh
from extproc.policyfile.fields import suggestion

FIELDS = (
    *("grpc_service", "http_service", "failure_mode_allow", "processing_mode", "request_attributes"),
    *("response_attributes", "message_timeout", "stat_prefix", "mutation_rules", "max_message_timeout"),
    *("disable_clear_route_cache", "route_cache_action", "forward_rules", "filter_metadata", "allow_mode_override"),
    *("disable_immediate_response", "metadata_options", "observability_mode", "deferred_close_timeout"),
    *("send_body_without_waiting_for_header_response", "allowed_override_modes", "on_processing_response"),
    *("status_on_error", "processing_request_modifier", "allow_content_length_header", "emit_client_span", "@type"),
)
"""Of ExternalProcessor in Envoy 1.40."""

UNKNOWN_FIELD = Rule(
    "AIM121",
    "error",
    "a field or a mode that ext_proc does not have",
    "The API server takes it, validation only warns, and istiod drops it: the filter runs without what it says.",
    "correct the name",
)
NO_CACHE_CLEAR = Rule(
    "AIM122",
    "error",
    "the route is kept though the processor changes headers",
    "With `route_cache_action: RETAIN` or `disable_clear_route_cache: true` the header arrives, and the request still "
    "goes where the original one would have gone.",
    "write route_cache_action: CLEAR",
)
NOTHING_CLEARS = Rule(
    "AIM123",
    "warning",
    "nothing here makes Envoy choose the route again",
    "Headers that the processor sets change no route unless each of its replies says `clear_route_cache`; of a reply "
    "without a header mutation Envoy ignores even that. Filters named `aimesh.…` are exempt: our processor says so.",
    "write route_cache_action: CLEAR",
)
OBSERVER_ROUTES = Rule(
    "AIM124",
    "error",
    "`observability_mode: true` on a filter that is to route",
    "Envoy then sends and goes on: answers are ignored, so no header, no route and no error comes of them; bodies can "
    "be `STREAMED` or `NONE` only.",
    "remove observability_mode, or put the observer into a filter of its own",
)
OBSERVER_FAILS = Rule(
    "AIM125",
    "error",
    "an observer that fails requests",
    "Without `failure_mode_allow` an observer that is down gives clients 500, and one that dies cuts answers short.",
    "write failure_mode_allow: true",
)
STREAMED_RACE = Rule(
    "AIM127",
    "error",
    "`STREAMED` request bodies without `send_body_without_waiting_for_header_response`",
    "The processor must then answer the headers before it sees the body, and what it reads there comes too late "
    "for the route.",
    "write send_body_without_waiting_for_header_response: true, or use BUFFERED",
)
OVERRIDE = Rule(
    "AIM130",
    "error",
    "mode overrides that can't happen",
    "`allowed_override_modes` needs `allow_mode_override: true`; and Envoy ignores overrides where the body is "
    "`FULL_DUPLEX_STREAMED` or `send_body_without_waiting_for_header_response` is on.",
    "write allow_mode_override: true with a body mode of NONE or BUFFERED, or remove both",
)
STREAM_TIMEOUT = Rule(
    "AIM131",
    "warning",
    "a `timeout` on the gRPC service",
    "It bounds the whole stream to the processor, which may live as long as the model's answer, not one reply of it.",
    "remove it; message_timeout bounds each reply",
)
NO_TIMEOUT = Rule(
    "AIM132",
    "warning",
    "no `message_timeout`",
    "The default is 200 ms for each reply; a processor that starts or is busy takes longer, and the request then fails "
    "or, with `failure_mode_allow`, goes unrouted.",
    "state message_timeout, as in 1s",
)
BOTH_CACHE = Rule(
    "AIM133",
    "error",
    "both `route_cache_action` and `disable_clear_route_cache`",
    "Envoy refuses the filter: the second is the old form of the first.",
    "write route_cache_action: CLEAR, and nothing else",
)
ANY_HEADER = Rule(
    "AIM134",
    "warning",
    "no `mutation_rules`",
    "The processor may then change `:path`, `authorization` and `content-type`: whoever takes it over has every "
    "request.",
    "allow your headers only: mutation_rules: {disallow_all: true, allow_expression: {regex: '^x-(model|gpu)-.*'}}",
)
EVERY_HEADER = Rule(
    "AIM135",
    "warning",
    "no `forward_rules`",
    "Every request's credentials, `authorization` and `cookie`, then go to the processor.",
    "send what it needs: forward_rules: {allowed_headers: {patterns: [{exact: ':path'}, …]}}",
)
BODY_LIMIT = Rule(
    "AIM136",
    "warning",
    "buffered request bodies with the default limit",
    "Envoy answers 413 to a body of more than 1 MiB, and a prompt with one picture is larger. Where the processor asks "
    "for the body by mode override, such a request hangs.",
    "raise it: MERGE request_body_buffer_limit into the VIRTUAL_HOST or HTTP_ROUTE (Envoy 1.36), or "
    "per_connection_buffer_limit_bytes into the LISTENER",
)
GOOGLE_GRPC = Rule(
    "AIM137",
    "warning",
    "`google_grpc`",
    "It is another client than Envoy's own: no cluster, so no mutual TLS of the mesh, no health checks, no balancing.",
    "use envoy_grpc with a cluster",
)
NO_TYPE = Rule(
    "AIM138",
    "error",
    "an HTTP filter without a typed configuration",
    "Envoy finds filters by the `@type` of `typed_config`; the name alone means nothing.",
    'write typed_config: {"@type": type.googleapis.com/…}',
)
NO_ATTRIBUTE = Rule(
    "AIM139",
    "error",
    "an attribute that Envoy does not have",
    "Nothing is sent in its place, and nothing says so.",
    "use one of Envoy's attributes, as in xds.route_name",
)
ENVOY_REFUSES = Rule(
    "AIM181",
    "error",
    "settings with which Envoy refuses the filter",
    "It refuses the whole listener then, and goes on with its old one or with none; istiod notices nothing.",
    "correct what is named",
)
RULES = (
    *(UNKNOWN_FIELD, NO_CACHE_CLEAR, NOTHING_CLEARS, OBSERVER_ROUTES, OBSERVER_FAILS, STREAMED_RACE),
    *(OVERRIDE, STREAM_TIMEOUT, NO_TIMEOUT, BOTH_CACHE, ANY_HEADER, EVERY_HEADER),
    *(BODY_LIMIT, GOOGLE_GRPC, NO_TYPE, NO_ATTRIBUTE, ENVOY_REFUSES),
)

_LIMITS = ("request_body_buffer_limit", "per_request_buffer_limit_bytes", "per_connection_buffer_limit_bytes")


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every ext_proc filter by itself."""
    for patch in mesh.patches:
        if patch.apply_to == "HTTP_FILTER" and patch.inserts and not patch.typed.name:
            yield patch.value.breaks(NO_TYPE)
    for processor in mesh.processors:
        for name, key in processor.config.named():
            if name not in FIELDS and name not in map(camel, FIELDS):
                yield key.breaks(UNKNOWN_FIELD, f"ext_proc has no field {name}", suggestion(name, FIELDS))
        for which in ("request_attributes", "response_attributes"):
            for attribute in processor.config.at(which).items:
                yield from _attribute(attribute)
        yield from _service(processor, mesh)
        yield from _bodies(processor, mesh)
        if processor.observes:
            yield from _observer(processor)
            continue
        if mesh.sees_requests(processor):
            yield from _router(processor)
        if not processor.config.at("message_timeout"):
            yield processor.config.breaks(NO_TIMEOUT)


def _attribute(attribute: Value) -> Iterator[Finding]:
    """An item of ``request_attributes``, which Envoy compiles as CEL."""
    try:
        reads = cel.attributes(attribute.text)
    except cel.Unparsable as error:
        yield attribute.breaks(ENVOY_REFUSES, f"no attribute, and no CEL: {error}", "name an attribute of Envoy's")
        return
    if not all(envoy_attributes.known(path) for path, _ in reads):
        yield attribute.breaks(NO_ATTRIBUTE, f"Envoy has no attribute {attribute.text}")


def _service(processor: Processor, mesh: Mesh) -> Iterator[Finding]:
    service, other = processor.config.at("grpc_service"), processor.config.at("http_service")
    if bool(service) == bool(other):
        message = "both grpc_service and http_service" if service else "neither grpc_service nor http_service"
        yield (other or processor.config).breaks(ENVOY_REFUSES, message, "write grpc_service, and nothing else")
    if timeout := service.at("timeout"):
        yield timeout.breaks(STREAM_TIMEOUT)
    if google := service.at("google_grpc"):
        yield google.breaks(GOOGLE_GRPC)
    if not processor.config.at("forward_rules") and mesh.sees_requests(processor):
        yield processor.config.breaks(EVERY_HEADER)


def _bodies(processor: Processor, mesh: Mesh) -> Iterator[Finding]:
    config, body = processor.config, processor.modes.at("request_body_mode")
    no_wait = config.at("send_body_without_waiting_for_header_response").flag
    bodies = [own.at("request_body_mode") for own in mesh.modes(processor)]
    if not no_wait and not processor.observes:
        yield from (own.breaks(STREAMED_RACE) for own in bodies if own.text == "STREAMED")
    allowed = config.at("allow_mode_override")
    if not any(p.value.at(limit) for p in mesh.patches for limit in _LIMITS):
        yield from (own.breaks(BODY_LIMIT) for own in bodies if own.text == "BUFFERED")
        if allowed.flag and body.text in ("", "NONE"):
            yield allowed.breaks(BODY_LIMIT, "a larger body that is asked for by mode override hangs")
    if not allowed.flag and (modes := config.at("allowed_override_modes")):
        yield modes.breaks(OVERRIDE, "allowed_override_modes without allow_mode_override")
    elif allowed.flag and (body.text == "FULL_DUPLEX_STREAMED" or no_wait):
        why = "request_body_mode is FULL_DUPLEX_STREAMED" if not no_wait else "the body does not wait for an answer"
        yield allowed.breaks(OVERRIDE, f"mode overrides are ignored where {why}")


def _observer(processor: Processor) -> Iterator[Finding]:
    config = processor.config
    if not config.at("failure_mode_allow").flag:
        yield config.at("observability_mode").breaks(OBSERVER_FAILS)
    routing = [config.at("route_cache_action"), config.at("mutation_rules"), config.at("allow_mode_override")]
    buffered = [config.at("processing_mode", f"{d}_body_mode") for d in ("request", "response")]
    meant = [r for r in routing if r and r.text != "DEFAULT"] + [b for b in buffered if b.text.startswith(("B", "F"))]
    if meant:
        what = meant[0].path.rpartition(".")[2]
        yield config.at("observability_mode").breaks(OBSERVER_ROUTES, f"observability_mode: true, so {what} is in vain")


def _router(processor: Processor) -> Iterator[Finding]:
    config = processor.config
    action, disabled = config.at("route_cache_action"), config.at("disable_clear_route_cache")
    if action.text in ("CLEAR", "RETAIN") and disabled.flag:
        yield disabled.breaks(BOTH_CACHE)
    elif action.text == "RETAIN" or disabled.flag:
        yield (action or disabled).breaks(NO_CACHE_CLEAR)
    elif action.text != "CLEAR" and processor.at_edge and not processor.name.startswith("aimesh."):
        yield config.breaks(NOTHING_CLEARS)
    if not config.at("mutation_rules"):
        yield config.breaks(ANY_HEADER)
