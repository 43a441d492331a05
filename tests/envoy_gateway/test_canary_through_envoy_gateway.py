"""A canary by traffic through a real Envoy Gateway, whose Envoy calls the real processor (`make envoy-gateway`)."""

from __future__ import annotations

import http.client
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from extproc.policy.snapshot import HeaderMatch, Policy, Snapshot, Sticky, Version
from extproc.render.gateway_api.gateway_manifests import documents
from extproc.render.gateway_api.gateway_options import GatewayOptions
from tests import go_program
from tests.envoy.conftest import ModelServer, Processor
from tests.envoy_gateway.binary import NAME, find
from tests.envoy_gateway.standalone import EnvoyGateway
from tests.waiting import until

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def envoy_gateway(tmp_path: Path) -> Iterator[EnvoyGateway]:
    program = find()
    if "EXTPROC_TEST_ENVOY_GATEWAY" not in os.environ:
        pytest.skip("they need Envoy Gateway: make envoy-gateway")
    if program is None:
        pytest.skip(f"no envoy-gateway in {go_program.cache(NAME)}: make envoy-gateway builds it where Go is there")
    with EnvoyGateway(program, tmp_path) as started:
        yield started


def asking(gateway: EnvoyGateway) -> Ask:
    def ask(model: str, *, padding: int = 0, **headers: str) -> tuple[int, str]:
        """Status and body for a chat completion whose prompt has ``padding`` bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        body = json.dumps({"messages": [{"role": "user", "content": "x" * padding}], "model": model})
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", **names})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    return ask


def test_a_canary(envoy_gateway: EnvoyGateway) -> None:
    users = [f"user-{number}" for number in range(200)]
    with ModelServer("v1") as v1, ModelServer("v2") as v2, ModelServer("other") as other:
        versions = (
            Version("v1", 9, (v1.address,)),
            Version("v2", 1, (v2.address,), match=(HeaderMatch((("x-beta", b"true"),)),)),
        )
        chat = Policy("chat", models=("llama",), versions=versions, sticky=Sticky(header="x-user-id"))
        rest = Policy("rest", models=("*",), versions=(Version("v1", 1, (other.address,)),))
        snapshot = Snapshot((chat, rest))
        processor = Processor(snapshot)
        options = GatewayOptions(flavor="envoy-gateway", processor=processor.address)
        found = documents(snapshot, options)
        envoy_gateway.apply("routes", found)
        ask = asking(envoy_gateway)
        try:
            until(lambda: ask("llama", x_beta="true") == (200, "v2"), seconds=120, pause=0.2)
            expected = {user: chat.version_hash.choose(user.encode()) for user in users}
            homes = {user: ask("llama", x_user_id=user) for user in users}
            assert homes == {user: (200, version.name if version else "") for user, version in expected.items()}
            assert {*homes.values()} == {(200, "v1"), (200, "v2")}
            assert ask("llama", x_beta="true", padding=3 << 20) == (200, "v2")
            assert ask("mistral", x_model_name="llama", x_model_version="v2") == (200, "other")
            seen = v2.seen[-1].headers
            assert (seen["x-model-name"], seen["x-model-version"]) == ("llama", "v2")
            counted = processor.metrics._counters["inference_requests"]
            until(lambda: counted["llama", "v1", "none", "openai", "200"] == [*homes.values()].count((200, "v1")))
        finally:
            processor.stop()
        without = Counter(ask("llama", x_beta="true", x_model_name="llama", x_model_version="v2") for _ in range(30))
        assert {status for status, _ in without} == {200}, "the gateway fails open"
