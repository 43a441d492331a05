"""Envoy's overload manager: limits of heap and client connections, and what is done before the heap is full.

A buffered body takes up to the policies' limit, and clients choose how many there are at a time. With rising heap use
Envoy frees memory, shortens idle timeouts, resets the streams that buffer most, and finally rejects requests; without
that, an Envoy that is killed for its memory loses all requests.
Source: Envoy's documentation, "Overload manager" and "Configuring Envoy as an edge proxy".
"""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import EnvoyOptions, typed

MAX_CONNECTIONS = 50_000
"""Client connections at a time."""
MIN_TRACKED_BYTES_LOG2 = 20
"""Streams that buffer less than 2 to the power of this (1 MiB) are not reset under memory pressure."""

_HEAP = "envoy.resource_monitors.fixed_heap"


def overload_manager(options: EnvoyOptions) -> Doc:
    """The bootstrap's ``overload_manager``."""
    return {
        "refresh_interval": "0.25s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": MIN_TRACKED_BYTES_LOG2},
        "resource_monitors": [
            typed(
                _HEAP,
                "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                max_heap_size_bytes=options.heap,
            ),
            typed(
                "envoy.resource_monitors.global_downstream_max_connections",
                "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=MAX_CONNECTIONS,
            ),
        ],
        "actions": [
            _action("shrink_heap", {"threshold": {"value": 0.85}}),
            _action(
                "reduce_timeouts",
                {"scaled": {"scaling_threshold": 0.85, "saturation_threshold": 0.95}},
                typed_config={
                    "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                    "timer_scale_factors": [
                        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "5s"},
                        {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "5s"},
                    ],
                },
            ),
            _action("reset_high_memory_stream", {"scaled": {"scaling_threshold": 0.9, "saturation_threshold": 0.98}}),
            _action("stop_accepting_requests", {"threshold": {"value": 0.95}}),
        ],
    }


def _action(name: str, trigger: Doc, **more: Doc) -> Doc:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}], **more}
