"""What stands around an endpoint picker: a gateway of the Gateway API Inference Extension, and servers like vLLM.

The gateway is a real Envoy. It asks in the protocol's body mode, FULL_DUPLEX_STREAMED, and finds the picked endpoint in
metadata.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from extproc.gateway.envoy_process import Envoy
from extproc.render.envoy.envoy_options import request_mode, typed
from tests.envoy.conftest import Handler, ModelServer, say

HEADER = "x-gateway-destination-endpoint"
_LB = "load_balancing_policies"


class Server(ModelServer):
    """A model server: answers with what it was asked, and tells on its page how many requests wait."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, host)
        self.waiting = 0

    def answer(self, request: Handler) -> None:
        body = request.body()
        if request.path == "/metrics":
            page = f"vllm:num_requests_running 0\nvllm:num_requests_waiting {self.waiting}\n"
            say(f"{page}vllm:gpu_cache_usage_perc 0\n".encode())(request)
            return
        told = {"by": self.address, "picked": request.headers.get(HEADER)}
        told |= {"model": json.loads(body)["model"]} if body else {}
        say(json.dumps(told).encode())(request)


class Answer(NamedTuple):
    """An answer of the gateway. ``by``: the server's address; ``picked``: what the picker has told."""

    status: int
    by: str = ""
    picked: str = ""
    model: str = ""
    code: str = ""


class PickerGateway:
    """An Envoy whose route leads to the endpoints of one InferencePool; ends with the context."""

    def __init__(self, picker: str, endpoints: Sequence[str], place: Path, *, by_header: bool = False) -> None:
        """``by_header``: it finds the picked endpoint in the header first, as some do."""
        place.mkdir()
        self._envoy = Envoy(_bootstrap(picker, endpoints, by_header=by_header), place)

    def __enter__(self) -> Self:
        self._envoy.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._envoy.child.terminate(2.0)

    def ask(self, content: str = "Why?", model: str = "llama", **headers: str) -> Answer:
        """A chat completion."""
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": content}]})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", "/v1/chat/completions", body, {"content-type": "application/json", **named})

    def send(self, method: str, path: str, body: str = "", headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
        """Whatever it is."""
        host, _, port = self._envoy.listen_address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            connection.request(method, path, body or None, dict(headers))
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status == 200:
            return Answer(200, **json.loads(text))
        # Envoy's own refusals are plain text.
        return Answer(response.status, code=json.loads(text)["error"]["code"] if text[:1] == b"{" else text.decode())


def _bootstrap(picker: str, endpoints: Sequence[str], *, by_header: bool) -> dict[str, Any]:
    mode = request_mode("FULL_DUPLEX_STREAMED") | {"request_trailer_mode": "SEND"}
    asks = typed(
        "picker",
        "extensions.filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": "picker"}},
        processing_mode=mode,
        message_timeout="20s",
        metadata_options={"receiving_namespaces": {"untyped": ["envoy.lb"]}},
    )
    router = typed("router", "extensions.filters.http.router.v3.Router")
    retries = {"retry_on": "connect-failure,reset", "num_retries": 2}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "pool", "timeout": "20s", "retry_policy": retries}}
    manager = typed(
        "hcm",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        http_filters=[asks, router],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    )
    turns = typed("turns", f"extensions.{_LB}.round_robin.v3.RoundRobin")
    sources = [{"header": HEADER}] if by_header else []
    picked = typed(
        "picked",
        f"extensions.{_LB}.override_host.v3.OverrideHost",
        override_host_sources=[*sources, {"metadata": {"key": "envoy.lb", "path": [{"key": HEADER}]}}],
        fallback_policy={"policies": [{"typed_extension_config": turns}]},
    )
    http2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    protocol = {"@type": f"type.googleapis.com/{http2}", "explicit_http_config": {"http2_protocol_options": {}}}
    clusters = [
        {**_cluster("pool", endpoints), "load_balancing_policy": {"policies": [{"typed_extension_config": picked}]}},
        {**_cluster("picker", [picker]), "typed_extension_protocol_options": {http2: protocol}},
    ]
    listener = {"address": _address("127.0.0.1:0"), "filter_chains": [{"filters": [manager]}]}
    return {
        "admin": {"address": _address("127.0.0.1:0")},
        "static_resources": {"listeners": [{"name": "http", **listener}], "clusters": clusters},
    }


def _cluster(name: str, endpoints: Sequence[str]) -> dict[str, Any]:
    found = [{"endpoint": {"address": _address(endpoint)}} for endpoint in endpoints]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": found}]}}


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
