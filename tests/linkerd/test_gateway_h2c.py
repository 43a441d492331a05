"""``render --app-protocol kubernetes.io/h2c``: the gateway's Envoy speaks HTTP/2, where Linkerd resets HTTP/1.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.names import Service

from extproc.gateway.envoy_process import Envoy
from extproc.render.envoy.envoy_options import typed
from tests import fast_yaml
from tests.envoy.conftest import Gateway
from tests.linkerd.test_gateway import POLICY
from tests.policy_documents import load_texts
from tests.ports import free_port

SNAPSHOT = load_texts([("policy.yaml", POLICY)]).snapshot


def rendered(app_protocol: Any) -> tuple[dict[str, Any], list[dict[str, Any]], tuple[str, ...]]:
    """Envoy's bootstrap as it is in the ConfigMap, the Services, and what is told on stderr."""
    options = Options(gateway=Service("ai", "inference-gateway"), app_protocol=app_protocol)
    found = manifests.render(SNAPSHOT, {}, options)
    maps = [doc for doc in found.manifests if doc["kind"] == "ConfigMap" and "envoy.yaml" in doc["data"]]
    services = [doc for doc in found.manifests if doc["kind"] == "Service" and "chat" in doc["metadata"]["name"]]
    return fast_yaml.load(maps[0]["data"]["envoy.yaml"]), services, found.notes


def speaks(cluster: dict[str, Any]) -> list[str]:
    (options,) = cluster["typed_extension_protocol_options"].values()
    return list(options["explicit_http_config"])


@pytest.mark.parametrize(
    ("protocol", "upstream"), [("kubernetes.io/h2c", "http2_"), ("http", "http_"), (None, "http_")]
)
def test_apexes_and_mirrors_are_spoken_to_as_their_services_say(protocol: str | None, upstream: str) -> None:
    document, services, notes = rendered(protocol)
    clusters = {c["name"]: c for c in document["static_resources"]["clusters"]}
    assert speaks(clusters["chat"]) == speaks(clusters["chat/shadow"]) == [f"{upstream}protocol_options"]
    assert speaks(clusters["chat#grpc"]) == ["http2_protocol_options"]
    assert {service["spec"]["ports"][0].get("appProtocol") for service in services} == {protocol}
    assert any("WebSockets" in note for note in notes) is (protocol == "kubernetes.io/h2c")


def at(where: str) -> dict[str, Any]:
    host, _, port = where.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def apex(listen: str) -> dict[str, Any]:
    """An Envoy in the place of the apex that reads HTTP/2 only, as Linkerd's proxy for such a port."""
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "apex"}}}
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="apex",
        codec_type="HTTP2",
        http_filters=[typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "apex", "domains": ["*"], "routes": [route]}]},
    )
    listener = {"name": "apex", "address": at(listen), "filter_chains": [{"filters": [manager]}]}
    return {"admin": {"address": at(f"127.0.0.1:{free_port()}")}, "static_resources": {"listeners": [listener]}}


@pytest.fixture(scope="module")
def listening() -> Iterator[str]:
    with ExitStack() as stack:
        where = f"127.0.0.1:{free_port()}"
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="apex-")))
        stack.enter_context(Envoy(apex(where), directory)).wait_ready()
        yield where


@pytest.mark.envoy
@pytest.mark.parametrize(("protocol", "status"), [("kubernetes.io/h2c", 200), (None, 503)])
def test_an_apex_of_http_2_alone_is_reached(protocol: str | None, status: int, listening: str) -> None:
    """As rendered; only the addresses are others. No processor runs: requests pass unrouted."""
    document, _, _ = rendered(protocol)
    document["admin"]["address"] = at(f"127.0.0.1:{free_port()}")
    for listener in document["static_resources"]["listeners"]:
        listener["address"] = at("127.0.0.1:0")
    for cluster in document["static_resources"]["clusters"]:
        for place in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
            if cluster["name"] in ("chat", "chat#grpc"):
                assert place["endpoint"]["address"]["socket_address"]["address"] == "chat.ai.svc.cluster.local"
                place["endpoint"]["address"] = at(listening)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="gw-")))
        envoy = stack.enter_context(Envoy(document, directory))
        envoy.wait_ready()
        gateway = Gateway(envoy, directory / "access.log")
        stack.enter_context(gateway.opened)
        connection = gateway.open()
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "llama-3-8b"}))
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == status, body
        assert (body == b"apex") is (status == 200)
