"""Who asks, as a real Envoy tells the processor: by verified certificates, and never by a client's own word."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from extproc.headers import LINKERD_CLIENT
from extproc.policyfile import loader
from tests.envoy.conftest import Gateway, ModelServer
from tests.envoy.test_processor import POLICY
from tests.grpc.served import Served
from tests.spiffe import Mesh
from tests.waiting import until

pytestmark = pytest.mark.envoy

SEARCH, CHAT = "spiffe://cluster.local/ns/shop/sa/search", "spiffe://cluster.local/ns/shop/sa/chat"
FORGED = "spiffe://cluster.local/ns/bank/sa/treasury"
CLAIMS = {"x-forwarded-client-cert": f"By=x;URI={FORGED}", LINKERD_CLIENT: "treasury.bank.serviceaccount.identity.x"}


@pytest.fixture
def served(servers: Callable[..., list[ModelServer]], tmp_path: Path) -> Iterator[Served]:
    one, two = servers("v1", "v2")
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("ONE", one.address).replace("TWO", two.address))
    with Served(path, "--drain", "0") as server:
        yield server.ready()


@pytest.fixture
def start(served: Served, gateway: Callable[..., Gateway], tmp_path: Path) -> Callable[..., Gateway]:
    """A gateway in front of the processor."""
    return lambda **options: gateway(loader.load([tmp_path / "policy.yaml"]).snapshot, served.address, **options)


def ask(gateway: Gateway, tls: ssl.SSLContext | None = None, claims: Mapping[str, str] = {}) -> None:
    host, _, port = gateway.envoy.listen_address.rpartition(":")
    connection = (
        http.client.HTTPSConnection(host, int(port), timeout=10, context=tls)
        if tls
        else http.client.HTTPConnection(host, int(port), timeout=10)
    )
    with closing(connection):
        body = json.dumps({"model": "llama", "messages": []})
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", **claims})
        with connection.getresponse() as response:
            assert response.status == 200
            response.read()


def callers(served: Served, requests: int) -> dict[str, int]:
    """How often each asked, once so many requests have been heard of."""

    def edges() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(served.get("/live")[1])["edges"]
        return found

    until(lambda: sum(edge["requests"] for edge in edges()) == requests)
    found: dict[str, int] = {}
    for edge in edges():
        found[edge["caller"]] = found.get(edge["caller"], 0) + edge["requests"]
    return found


def test_a_verified_certificate_names_the_caller(served: Served, start: Callable[..., Gateway], tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    gateway = start(alter=mesh.listening)
    ask(gateway, mesh.client(SEARCH), CLAIMS)
    ask(gateway, mesh.client(CHAT))
    ask(gateway, mesh.client(SEARCH))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(gateway, Mesh(tmp_path).client(FORGED))
    assert callers(served, 3) == {SEARCH: 2, CHAT: 1}


def test_what_a_client_says_of_itself_counts_nothing(served: Served, start: Callable[..., Gateway]) -> None:
    ask(start(), claims=CLAIMS)
    assert callers(served, 1) == {"unknown": 1}


def test_linkerds_proxy_is_believed_where_it_stands_in_front(served: Served, start: Callable[..., Gateway]) -> None:
    ask(start(behind_linkerd=True), claims=CLAIMS)
    assert callers(served, 1) == {CLAIMS[LINKERD_CLIENT]: 1}


def test_a_waypoint_tells_whose_tunnel_it_was(served: Served, start: Callable[..., Gateway]) -> None:
    """Envoy's own filter plays the part of Istio's, which is not in an Envoy without Istio: the name is the same."""

    def from_tunnel(document: dict[str, Any]) -> None:
        value = {"text_format_source": {"inline_string": CHAT}}
        state = {"object_key": "io.istio.peer_principal", "factory_key": "envoy.string", "format_string": value}
        for listener in document["static_resources"]["listeners"]:
            for chain in listener["filter_chains"]:
                manager = chain["filters"][-1]["typed_config"]
                kind = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"
                own = {"name": "peer", "typed_config": {"@type": kind, "on_request_headers": [state]}}
                manager["http_filters"].insert(0, own)

    ask(start(alter=from_tunnel))
    assert callers(served, 1) == {CHAT: 1}
