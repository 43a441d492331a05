"""Requests that Istio's authentication refuses, and our filters behind it: a real Envoy with the real processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from extproc.cli.main import main
from extproc.policy.snapshot import Snapshot, Version
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.istio.translation import Endpoint
from tests.waiting import until

pytestmark = pytest.mark.envoy

SNAPSHOT = Snapshot((mesh.policy(versions=(Version("v1"),), selector=(("app", "chat"),)),))
CONTEXTS = {
    "gateway": "GATEWAY",
    "sidecar": "SIDECAR_OUTBOUND",
    "waypoint": "SIDECAR_INBOUND",
    "inbound": "SIDECAR_INBOUND",
}
"""The places of our filters, and where that is to Istio."""
ROUTING = [place for place in CONTEXTS if place != "inbound"]
NOBODY = "127.0.0.1:1"
"""Where nothing listens."""
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Guarded:
    """A proxy that lets only those in who are known, and its processor."""

    envoy: Gateway
    process: Processor
    v1: ModelServer

    def known(self, body: Any, path: str = CHAT, **headers: str) -> int:
        """The status of an answer to somebody with a token."""
        return self.envoy.post(body, path, host=mesh.CHAT, authorization=mesh.token(), **headers).status

    def called(self, which: str) -> int:
        """How many streams a filter opened at the processor."""
        name = f"http.outbound.ext_proc.aimesh_{which}.streams_started"
        return self.envoy.envoy.stats(name).get(name, 0)

    def observed(self, number: int) -> list[str]:
        """API, status and model of each exchange that the observer saw, once it has seen ``number``."""
        until(lambda: self.called("observe") >= number and len(mesh.counted(self.process)) >= number)
        return sorted(f"{c['api']} {c['code']} {c['model']}" for c in mesh.counted(self.process))


@pytest.fixture
def guarded(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], run: Callable[[Proxy], Gateway]
) -> Callable[..., Guarded]:
    """Starts one; ``alter`` changes it first."""

    def start(place: str, alter: Callable[[Proxy], None] = lambda _: None, up: bool = True) -> Guarded:
        v1, other = servers("v1", "other")
        process, pods = processor(SNAPSHOT), [mesh.pod(v1, "v1")] if up else [Endpoint(NOBODY, {"version": "v1"})]
        guard = mesh.authenticated()
        proxy = mesh.proxy(SNAPSHOT, pods, other, process, at=CONTEXTS[place], authentication=guard, proxies=(place,))
        alter(proxy)
        return Guarded(run(proxy), process, v1)

    return start


@pytest.mark.parametrize("place", CONTEXTS)
def test_nothing_of_a_refused_request_reaches_the_processor(place: str, guarded: Callable[..., Guarded]) -> None:
    """Neither the request nor Envoy's answer to it: no stream is opened."""
    at = guarded(place)
    assert at.envoy.ask("llama", host=mesh.CHAT).status == 401
    assert at.envoy.ask("llama", host=mesh.CHAT, authorization=mesh.token(b"another secret")).status == 401
    assert at.known({"model": "llama"}, "/admin") == 403
    assert at.known({"model": "llama"}) == 200
    model = "other" if place == "inbound" else "llama"
    assert at.observed(1) == [f"openai 200 {model}"]
    assert (at.called("observe"), at.called("route"), len(at.v1.seen)) == (1, int(place in ROUTING), 1)


@pytest.mark.parametrize("place", ROUTING)
def test_whoever_was_let_in_is_observed(place: str, guarded: Callable[..., Guarded]) -> None:
    """Also who asked for no model, and who was sent away by the processor or by Envoy afterwards."""
    at = guarded(place)
    twice = b'{"model": "llama", "model": "gpt"}'
    assert [at.known({"model": "llama"}), at.known({}), at.known({}, "/page")] == [200, 200, 200]
    # Only the length says that it is too large: all of it might be too much for Envoy before we have answered.
    assert [at.known(twice), at.known(b"x", content_length=str(40 << 20))] == [400, 413]
    assert at.observed(5) == [
        "none 200 other",
        "openai 200 llama",
        "openai 200 other",
        "openai 400 other",
        "openai 413 other",
    ]


@pytest.mark.parametrize("place", ROUTING)
def test_a_model_server_that_is_down_is_observed(place: str, guarded: Callable[..., Guarded]) -> None:
    at = guarded(place, up=False)
    assert at.known({"model": "llama"}) == 503
    assert at.observed(1) == ["openai 503 llama"]


def test_the_doctor_finds_both_filters(guarded: Callable[..., Guarded], capsys: pytest.CaptureFixture[str]) -> None:
    at = guarded("gateway")
    assert at.known({"model": "llama"}) == 200
    assert main(["doctor", "--envoy-admin", f"http://{at.envoy.envoy.admin_address}"]) == 0, capsys.readouterr().out
    assert "aimesh.route, aimesh.observe on 0.0.0.0_80" in capsys.readouterr().out


def misled(proxy: Proxy) -> None:
    """The routing filter calls somebody who is no processor."""
    route = next(each for each in proxy.manager["http_filters"] if each["name"] == "aimesh.route")
    route["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] = f"outbound|{mesh.PORT}||{mesh.OTHER}"


@pytest.mark.parametrize("place", ROUTING)
def test_a_request_that_no_processor_has_routed_is_observed(place: str, guarded: Callable[..., Guarded]) -> None:
    at = guarded(place, misled)
    assert at.known({"model": "llama"}) == 200
    assert at.observed(1) == ["none 200 other"]
