"""One Envoy for the whole pipeline: the gateway, the router, and the listeners of every sidecar.

The router is what ``render.envoy`` makes of the policies; everything else is added to it. Each listener traces under
the name of its service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extproc import headers
from extproc.demo.pipeline.stages import (
    CLASSIFIER,
    FEATURES,
    GATEWAY,
    LLM,
    POSTPROCESS,
    PREPROCESS,
    PROCESSOR,
    ROUTER,
    Addresses,
)
from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.bootstrap import bootstrap
from extproc.render.envoy.clusters import http_protocol_options
from extproc.render.envoy.envoy_options import NAMESPACE, EnvoyOptions, address, typed

COLLECTOR = "collector"
FLUSH_INTERVAL = 200
"""Milliseconds for which Envoy collects spans."""
OUTBOUND = f"{PREPROCESS}-outbound"
"""Prefix of the statistics of preprocessing's calls to others; a service's own is its name."""
_PROCESSOR_TIMEOUT = 30.0
"""Seconds: the demo judges decisions, not how busy the machine is."""
_HTTP1: Doc = {"explicit_http_config": {"http_protocol_options": {}}}
_HTTP2: Doc = {"explicit_http_config": {"http2_protocol_options": {}}}
_AS_ASKED: Doc = {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
_MODEL_TAGS = {
    "gen_ai.request.model": headers.MODEL_NAME,
    "aimesh.version": headers.MODEL_VERSION,
    "aimesh.gpu_pool": headers.GPU_POOL,
}
"""Tags of a model's span, by the header that the processor has set."""


def document(
    snapshot: Snapshot, at: Addresses, apps: Mapping[str, str], processor: str, collector: str, access_log: str
) -> Doc:
    """``apps``: the address of each service itself; ``processor`` and ``collector``: theirs; ``access_log``: a file."""
    options = EnvoyOptions(
        listen=at.router,
        admin=at.admin,
        processors=(processor,),
        cluster=PROCESSOR,
        message_timeout=_PROCESSOR_TIMEOUT,
        access_log=access_log,
    )
    made = bootstrap(snapshot, options)
    resources = made["static_resources"]
    (router,) = resources["listeners"]
    manager = router["filter_chains"][0]["filters"][0]["typed_config"]
    manager["tracing"] = _tracing(ROUTER, spawn=True, tags=[_metadata_tag(name) for name in ("version", "gpu_pool")])
    resources["listeners"] += [
        _listener(GATEWAY, at.gateway, {"*": PREPROCESS}, _tracing(GATEWAY, spawn=True)),
        _listener(
            OUTBOUND,
            at.outbound,
            {name: name for name in (FEATURES, ROUTER, POSTPROCESS)},
            _tracing(PREPROCESS),
            direction="OUTBOUND",
        ),
        *(
            _listener(name, at.inbound[name], {"*": f"{name}-app"}, _tracing(name, tags=_tags(name)), "INBOUND")
            for name in at.inbound
        ),
    ]
    resources["clusters"] += [
        _cluster(PREPROCESS, at.inbound[PREPROCESS], _HTTP1),
        _cluster(FEATURES, at.inbound[FEATURES], _HTTP1),
        _cluster(POSTPROCESS, at.inbound[POSTPROCESS], _HTTP1),
        _cluster(ROUTER, at.router, _AS_ASKED),
        *(_cluster(f"{name}-app", app, _HTTP2 if name == CLASSIFIER else _HTTP1) for name, app in apps.items()),
        _cluster(COLLECTOR, collector, _HTTP2),
    ]
    runtime = made["layered_runtime"]["layers"][0]["static_layer"]
    runtime["tracing.opentelemetry.flush_interval_ms"] = FLUSH_INTERVAL
    return made


def _listener(name: str, at: str, clusters: Mapping[str, str], tracing: Doc, direction: str = "UNSPECIFIED") -> Doc:
    """``clusters``: where requests go, by the host that they name."""
    hosts = [
        {
            "name": host,
            "domains": [host],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}],
        }
        for host, cluster in clusters.items()
    ]
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        route_config={"name": name, "virtual_hosts": hosts},
        http_filters=[typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")],
        tracing=tracing,
    )
    return {
        "name": name,
        "address": address(at),
        "traffic_direction": direction,
        "filter_chains": [{"filters": [manager]}],
    }


def _tracing(service: str, *, spawn: bool = False, tags: Sequence[Doc] = ()) -> Doc:
    """``spawn``: the call to the next hop has a span of its own, as that of a service has by its outbound listener."""
    provider = typed(
        "envoy.tracers.opentelemetry",
        "config.trace.v3.OpenTelemetryConfig",
        grpc_service={"envoy_grpc": {"cluster_name": COLLECTOR}},
        service_name=service,
    )
    return {"provider": provider, "custom_tags": [*tags], **({"spawn_upstream_span": True} if spawn else {})}


def _tags(service: str) -> list[Doc]:
    if service not in (LLM, CLASSIFIER):
        return []
    return [{"tag": tag, "request_header": {"name": name}} for tag, name in _MODEL_TAGS.items()]


def _metadata_tag(name: str) -> Doc:
    """What the processor has decided, as the router's own span tells it."""
    key = {"key": NAMESPACE, "path": [{"key": name}]}
    return {"tag": f"{NAMESPACE}.{name}", "metadata": {"kind": {"request": {}}, "metadata_key": key}}


def _cluster(name: str, at: str, protocol: Doc) -> Doc:
    endpoint = {"endpoint": {"address": address(at)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": http_protocol_options(protocol, idle_timeout="30s"),
    }
