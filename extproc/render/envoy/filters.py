"""Our HTTP filters: the two that call the processor, and those that read a body's model or load reports."""

from __future__ import annotations

from collections.abc import Sequence

from extproc import apis, headers
from extproc.apis.answer_table import HEADERS as USAGE_HEADERS
from extproc.apis.mcp import SESSION_HEADER
from extproc.envoy.endpoint_picker import PICKED_NAMESPACE
from extproc.envoy.events import DNS_NAME, PEER_ATTRIBUTES, SERVED_ATTRIBUTE
from extproc.exchange.native_body import BODY_MODEL
from extproc.exchange.observe import DEFERRED_CLOSE_TIMEOUT
from extproc.exchange.request_outcome import ACCOUNTED, REQUEST_ID
from extproc.exchange.sampling import LEFT_OUT, OBSERVE
from extproc.exchange.waiting_pick import MESSAGE_TIMEOUT
from extproc.policy import load_report
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.credentials import gives_keys
from extproc.render.envoy.envoy_options import (
    NAMESPACE,
    OBSERVE_FILTER,
    PROCESSOR,
    ROUTE_FILTER,
    EnvoyOptions,
    avoid_previous_hosts,
    request_mode,
    seconds,
    skipped_where,
    typed,
)

_EXT_PROC = "extensions.filters.http.ext_proc.v3.ExternalProcessor"
_MODEL_HEADERS = sorted({":path", *(row.header for row in apis.TABLE if row.header)})
"""Where a request names its model other than in the body: what ``modelRewrite`` may change."""
_MUTABLE_HEADERS = (
    "x-(model|gpu|amzn|gateway)-.*",
    "content-(length|encoding|type)",
    "retry-after",
    "grpc-status-.*",
)
"""Headers that the processor may set, as regular expressions short enough for Envoy's default limit (program size 100
in RE2)."""
_DECIDING_HEADERS = (
    *(":method", ":path", "content-type", "content-length", "content-encoding", "grpc-encoding"),
    *headers.ROUTING,
    SESSION_HEADER,
    *sorted({name for row in apis.TABLE for name in (row.header, row.version_header) if name}),
)
"""Headers that the processor needs whatever the policy says."""
_JSON_CONTENT_TYPES = (
    "application/json",
    *(f"application/json;{gap}charset={name}" for gap in ("", " ") for name in ("utf-8", "UTF-8")),
)
"""Content types that ``json_to_metadata`` compares literally; bodies of others are sent to the processor."""
_RESPONSE_HEADERS = (
    *(":status", "content-type", "content-encoding", "content-length", "grpc-encoding", "grpc-status"),
    *("server-timing", "sec-websocket-extensions", *USAGE_HEADERS),
)
"""Response headers from which ``exchange.observe`` knows how to read the answer."""


def headers_read(snapshot: Snapshot) -> list[str]:
    """Names of the request headers that are sent to the processor: those that may decide, so no credentials."""
    names = [*_DECIDING_HEADERS]
    for policy in snapshot.policies:
        if policy.sticky is not None:
            names.append(policy.sticky.header or ("cookie" if policy.sticky.cookie else ""))
        if policy.picking is not None and policy.picking.objectives:
            names.append(headers.OBJECTIVE)
        if policy.picking is not None and policy.picking.max_queue:
            names.append(headers.FAIRNESS_ID)
        names += (name for version in policy.versions for match in version.match for name, _ in match.headers)
    return [name for name in dict.fromkeys(names) if name]


def _forward(names: Sequence[str]) -> Doc:
    return {"allowed_headers": {"patterns": [{"exact": name} for name in names]}}


def route_filter(
    snapshot: Snapshot, options: EnvoyOptions, *, unrouted: Sequence[Policy] | None = None, tagged: bool = False
) -> Doc:
    """``aimesh.route``: asks the processor where the request goes and waits for the answer. Skips the response.

    ``unrouted``: the policies to whose servers requests go that no processor has read; None: all of them. If one of
    these servers gets a key of ours, such requests are refused whatever ``options`` say. ``tagged``: ids in paths have
    tags (``sessions``), which the processor removes. ``options.body``:

    - "native": Envoy reads the model itself (``native_filter``) and sends the body only where that does not suffice.
    - "streamed": the body is sent as it arrives and the processor answers once, after its end: one round trip.
    - "buffered": Envoy first buffers the body: one round trip more, but a client's pauses do not count towards the
      message timeout. Requests with trailers (HTTP/2) need it: while Envoy's streamed mode waits for an answer, it
      never sends the end of such a body.
    """
    native = options.body == "native"
    keys = gives_keys(snapshot, snapshot.policies if unrouted is None else unrouted)
    picked = [PICKED_NAMESPACE] if any(policy.picking for policy in snapshot.policies) else []  # for the access log
    metadata: Doc = {"receiving_namespaces": {"untyped": [NAMESPACE, *picked]}}
    timeout = seconds(options.effective_message_timeout)
    queues = any(policy.picking and policy.picking.max_queue for policy in snapshot.policies)
    return typed(
        ROUTE_FILTER,
        _EXT_PROC,
        stat_prefix="aimesh_route",
        grpc_service=_processor(options, *([(MESSAGE_TIMEOUT, timeout)] if queues else []), retry=True),
        processing_mode=request_mode("NONE" if native else options.body.upper()),
        allow_mode_override=native,
        send_body_without_waiting_for_header_response=not native,  # else Envoy ignores mode overrides
        forward_rules=_forward(headers_read(snapshot)),
        allow_content_length_header=True,
        failure_mode_allow=options.fail_open and not keys,
        status_on_error={"code": "ServiceUnavailable"},
        message_timeout=timeout,
        mutation_rules={"disallow_all": True, "allow_expression": {"regex": _mutable_headers(snapshot, tagged=tagged)}},
        metadata_options=metadata | ({"forwarding_namespaces": {"untyped": [NAMESPACE]}} if native else {}),
    )


def _mutable_headers(snapshot: Snapshot, *, tagged: bool) -> str:
    """Regular expression of the headers that the processor may set, on requests and on immediate responses.

    ``tagged``: see ``route_filter``.
    """
    renaming = _MODEL_HEADERS if any(policy.rewrites_model for policy in snapshot.policies) else ()
    found = dict.fromkeys((*_MUTABLE_HEADERS, *((":path",) if tagged else ()), *renaming))
    return f"^({'|'.join(found)})$"


def native_filter() -> Doc:
    """Buffers a JSON body and writes its ``model`` into dynamic metadata, which ``aimesh.route`` forwards."""
    found = {"metadata_namespace": NAMESPACE, "key": BODY_MODEL}
    return typed(
        "aimesh.model",
        "extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
        request_rules={
            "rules": [{"selectors": [{"key": "model"}], "on_present": found}],
            "allow_content_types": list(_JSON_CONTENT_TYPES),
        },
    )


def reads_load_headers(snapshot: Snapshot) -> bool:
    """Whether some pool's model servers report their load in response headers (ORCA)."""
    return any(pool.metrics_type and not pool.metrics_url for pool in snapshot.pools)


def load_report_filter() -> Doc:
    """Requests load reports from model servers, and removes them from responses to clients."""
    asking = {
        "header": {"key": load_report.LOAD_FORMAT_HEADER, "value": "JSON"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    return typed(
        "aimesh.load",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={
            "request_mutations": [{"append": asking}],
            "response_mutations": [{"remove": load_report.LOAD_HEADER}],
        },
    )


def if_sampled(inner: Doc) -> Doc:
    """The filter ``inner``, skipped for requests that were decided not to be observed.

    Envoy makes an instance of a filter for each request, skipped or not. So what is skipped is a composite filter, and
    only who is observed gets an instance of ``inner``.
    """
    decided = typed(
        "aimesh.sampling",
        "extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
        filter=NAMESPACE,
        path=[{"key": OBSERVE}],
    )
    left_out = typed(
        "aimesh.sampling",
        "extensions.matching.input_matchers.metadata.v3.Metadata",
        value={"string_match": {"exact": LEFT_OUT}},
    )
    composite = typed(inner["name"], "extensions.filters.http.composite.v3.Composite")
    found = skipped_where({"single_predicate": {"input": decided, "custom_match": left_out}}, composite)
    execute = typed("execute", "extensions.filters.http.composite.v3.ExecuteFilterAction", typed_config=inner)
    found["typed_config"]["xds_matcher"]["on_no_match"] = {"action": execute}
    return found


def observe_filter(snapshot: Snapshot, options: EnvoyOptions, *, alone: bool = False, accounted: bool = False) -> Doc:
    """``aimesh.observe``: sends the processor the response; Envoy does not wait for answers (observability mode), and
    does without the processor where it has just died.

    ``alone``: there is no ``aimesh.route`` whose metadata names the API, so path and method are sent as well.
    ``accounted``: this Envoy has the processor's access log (``access_logs``).
    """
    picks = any(policy.picking for policy in snapshot.policies)
    return typed(
        OBSERVE_FILTER,
        _EXT_PROC,
        stat_prefix="aimesh_observe",
        grpc_service=_processor(options, *([ACCOUNTED] if accounted else [])),
        observability_mode=True,
        deferred_close_timeout=seconds(DEFERRED_CLOSE_TIMEOUT),  # of streams that the processor has not ended by then
        failure_mode_allow=True,
        processing_mode={
            "request_header_mode": "SEND",
            "request_body_mode": "NONE",
            "request_trailer_mode": "SKIP",
            "response_header_mode": "SEND",
            "response_body_mode": "STREAMED",
            "response_trailer_mode": "SEND",
        },
        request_attributes=[name for name in PEER_ATTRIBUTES if name != DNS_NAME or options.verifies_clients],
        **({"response_attributes": [SERVED_ATTRIBUTE]} if picks and not alone else {}),
        forward_rules=_forward(
            [
                *([":method", *_MODEL_HEADERS] if alone else []),
                *_RESPONSE_HEADERS,
                *([load_report.LOAD_HEADER] if reads_load_headers(snapshot) else []),
                *sorted(
                    {name for policy in snapshot.policies for name in policy.metric_headers} - set(_RESPONSE_HEADERS)
                ),
                *([REQUEST_ID] if accounted else []),
                *(["traceparent"] if options.tracing else []),
                *([headers.LINKERD_CLIENT] if options.behind_linkerd else []),
                *([headers.DESTINATION_ENDPOINT] if picks else []),
            ]
        ),
        metadata_options={"forwarding_namespaces": {"untyped": [NAMESPACE]}},
    )


def _processor(options: EnvoyOptions, *metadata: tuple[str, str], retry: bool = False) -> Doc:
    """The gRPC service of a filter, with this metadata. ``retry``: on another processor where one has died, and its
    health check has not failed yet. From a cluster of ours it is ejected at once (``clusters.processor_cluster``); a
    mesh's may lack the DestinationRule that says so.

    Envoy hashes this message anew for each request, also where the filter is skipped (envoyproxy/envoy,
    ext_proc/ext_proc.cc, ``config_with_hash_key_``), so it is short: ``reset`` stands for connections that fail and
    streams that are refused as well.
    """
    service: Doc = {"envoy_grpc": {"cluster_name": options.cluster}}
    if retry:
        service["retry_policy"] = {
            "retry_on": "reset,unavailable",
            "num_retries": 3,
            # Envoy's default back-off, a second and more, would exceed the message timeout.
            "retry_back_off": {"base_interval": "0.01s"},
            **({} if options.cluster == PROCESSOR else avoid_previous_hosts()),
        }
    if metadata:
        service["initial_metadata"] = [{"key": key, "value": value} for key, value in metadata]
    return service
