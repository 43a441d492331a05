"""The model server of the benchmarks, behind every Envoy that is measured."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.mesh.process import Process
from benchmarks.mesh.processes import OTHER_CORE, start_envoy, wait
from benchmarks.mesh.scenarios import Doc
from benchmarks.mesh.slow import answer
from extproc.render.envoy.envoy_options import typed

WHOLE = (200, 2000)
"""Tokens of the answers that come at once, beside an empty one."""


def start_upstream(stack: ExitStack, directory: Path) -> str:
    """A model server that costs next to nothing: an Envoy that reads the whole request and says nothing, or as many
    tokens as it is asked for (``WHOLE``).

    Asked for an answer that takes time, it fetches one from a server that has nothing else to do.
    """
    directory.mkdir()
    slow = stack.enter_context(
        Process([sys.executable, "-m", "benchmarks.mesh.slow"], OTHER_CORE, directory / "slow.log")
    )
    wait(lambda: slow.log.read_text().strip(), slow)
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="upstream",
        route_config={
            "max_direct_response_body_size_bytes": 1 << 20,
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "request_body_buffer_limit": 16 << 20,
                    "routes": [
                        {
                            "match": _where("x-answer", {"safe_regex": {"regex": "whole|streamed"}}),
                            "route": {"cluster": "slow", "timeout": "0s"},
                        },
                        *(_says(answer(n), _where("x-tokens", {"exact": str(n)})) for n in WHOLE),
                        _says('{"choices":[]}', {"prefix": "/"}),
                    ],
                }
            ],
        },
        http_filters=[
            typed("envoy.filters.http.buffer", "extensions.filters.http.buffer.v3.Buffer", max_request_bytes=16 << 20),
            typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"),
        ],
    )
    anywhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    loopback = {"socket_address": {"address": "0.0.0.0", "port_value": 0}}  # noqa: S104 - many addresses of this machine
    document = {
        "admin": {"address": anywhere},
        "static_resources": {
            "listeners": [{"name": "all", "address": loopback, "filter_chains": [{"filters": [manager]}]}],
            "clusters": [_cluster("slow", int(slow.log.read_text()))],
        },
    }
    return f"127.0.0.1:{start_envoy(stack, directory, document)[1]}"


def _where(header: str, match: Doc) -> Doc:
    return {"prefix": "/", "headers": [{"name": header, "string_match": match}]}


def _says(body: str, match: Doc) -> Doc:
    """A route that answers with this JSON."""
    kind = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "match": match,
        "direct_response": {"status": 200, "body": {"inline_string": body}},
        "response_headers_to_add": [kind | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }


def _cluster(name: str, port: int) -> Doc:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}
