"""The HTTP connection manager: limits for untrusted clients, and its filters in their order."""

from __future__ import annotations

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.access_logs import access_logs
from extproc.render.envoy.client_headers import strip_client_headers
from extproc.render.envoy.envoy_options import (
    NAMESPACE,
    EnvoyOptions,
    typed,
)
from extproc.render.envoy.filters import (
    if_sampled,
    load_report_filter,
    native_filter,
    observe_filter,
    reads_load_headers,
    route_filter,
)
from extproc.render.envoy.local_replies import MAX_HEADERS, MAX_HEADERS_KB, local_replies
from extproc.render.envoy.sessions import session_filters

REQUEST_TIMEOUT = "300s"
"""Time for a whole request to arrive; also ends one whose body trickles, which no idle timeout does."""


def connection_manager(snapshot: Snapshot, options: EnvoyOptions, routes: Doc) -> Doc:
    """The network filter. ``routes``: the field ``route_config`` or ``rds``."""
    unrouted = [snapshot.fallback] if snapshot.policies else []
    return typed(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=NAMESPACE,
        server_name=NAMESPACE,
        use_remote_address=True,
        normalize_path=True,
        merge_slashes=True,
        **_scheme(snapshot),
        common_http_protocol_options={
            "headers_with_underscores_action": "DROP_HEADER",
            "idle_timeout": "3600s",
            "max_headers_count": MAX_HEADERS,
        },
        max_request_headers_kb=MAX_HEADERS_KB,
        request_headers_timeout="10s",
        request_timeout=REQUEST_TIMEOUT,  # of the request only, not of the answer
        # Until a route is chosen; routes have an idle timeout of their own, which allows for slow models.
        stream_idle_timeout="300s",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        http2_protocol_options={
            "max_concurrent_streams": 256,
            "initial_stream_window_size": 1 << 20,
            "initial_connection_window_size": 8 << 20,
        },
        early_header_mutation_extensions=[strip_client_headers(snapshot, "x-envoy-")],
        access_log=access_logs(options),
        local_reply_config={"mappers": local_replies()},
        http_filters=[
            *([load_report_filter()] if reads_load_headers(snapshot) else []),
            *([native_filter()] if options.body == "native" else []),
            route_filter(snapshot, options, unrouted=unrouted, tagged=bool(snapshot.session_keys)),
            *(session_filters() if snapshot.session_keys else []),
            *([if_sampled(observe_filter(snapshot, options, accounted=True))] if options.observe else []),
            typed(
                "envoy.filters.http.router",
                "extensions.filters.http.router.v3.Router",
                suppress_envoy_headers=True,
            ),
        ],
        **routes,
    )


def _scheme(snapshot: Snapshot) -> Doc:
    """``:scheme`` as the connection to the model server has it (RFC 9113 §8.3.1), not as the client's has it."""
    tls = any(target.upstream.tls for targets in snapshot.targets.values() for target in targets)
    return {"scheme_header_transformation": {"match_upstream": True}} if tls else {}
