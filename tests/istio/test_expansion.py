"""Our manifests in a real Envoy, as istiod would put them there: what traffic they let through, and where to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from copy import deepcopy
from time import monotonic, sleep
from typing import Any

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version
from extproc.render.istio.manifests import PROXY_KINDS, IstioOptions, documents
from tests.envoy.conftest import Gateway, ModelServer, Processor, say
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.istio.translation import Endpoint
from tests.waiting import until

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Process = Callable[..., Processor]
Run = Callable[[Proxy], Gateway]
PLACES = pytest.mark.parametrize("at", ["SIDECAR_OUTBOUND", "GATEWAY"])
PLACES_OF_FILTERS = {"gateway": "GATEWAY", "sidecar": "SIDECAR_OUTBOUND", "waypoint": "SIDECAR_INBOUND"}
SPOOFED = {
    "x-model-name": "llama",
    "x-model-version": "v2",
    "x-gpu-pool": "west",
    "x-gpu-architecture": "h100",
    "x-gateway-destination-endpoint": "10.9.9.9:1",
}
NOBODY = "127.0.0.1:1"
"""Where no processor is."""


def asked(envoy: Gateway, what: str = "streams_started") -> int:
    """How often the processor was asked for a route, or had answered."""
    name = f"http.outbound.ext_proc.aimesh_route.{what}"
    return envoy.envoy.stats(name).get(name, 0)


@pytest.mark.parametrize(("at", "alpn"), [("SIDECAR_OUTBOUND", 1), ("GATEWAY", 1)])
def test_the_filters_stand_behind_authentication_and_before_what_depends_on_the_route(
    at: str, alpn: int, servers: Servers
) -> None:
    (other,) = servers("other")
    made = mesh.proxy(Snapshot((mesh.policy(),)), [], other, NOBODY, at=at, authentication=mesh.authenticated())
    assert made.filters == [
        "istio.metadata_exchange",
        "envoy.filters.http.jwt_authn",
        "envoy.filters.http.rbac",
        "aimesh.admitted",
        "aimesh.route",
        "aimesh.sampled",
        "aimesh.observe",
        "envoy.filters.http.grpc_stats",
        *["istio.alpn"] * alpn,
        "envoy.filters.http.fault",
        "envoy.filters.http.cors",
        "istio.stats",
        "envoy.filters.http.router",
    ]


def test_proxies_that_nobody_means_stay_as_they_are() -> None:
    """A listener on another port, another namespace, another gateway."""
    manifests = documents(Snapshot((mesh.policy(),)), IstioOptions(proxies=PROXY_KINDS))
    for context, port, namespace, labels in (
        ("SIDECAR_OUTBOUND", 9999, "ai", {}),
        ("SIDECAR_OUTBOUND", 8080, "web", {}),
        ("GATEWAY", 80, "istio-ingress", {"istio": "egressgateway"}),
        ("SIDECAR_INBOUND", 8080, "ai", {}),
    ):
        made = Proxy(context, port, [], [], namespace, labels)
        before = deepcopy(made.manager)
        made.apply(manifests)
        assert made.manager == before


@PLACES
def test_the_header_decides_the_subset(at: str, servers: Servers, processor: Process, run: Run) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")], other, process, at=at))
    assert envoy.ask("llama", host=mesh.CHAT).text == "v1"
    answer = envoy.ask("llama", host=mesh.CHAT, x_beta="true")
    assert (answer.text, answer.headers["x-model-version"]) == ("v2", "v2")
    assert {"route;dur", "upstream;dur", "total;dur"} == {p.strip().rpartition("=")[0] for p in timing(answer)}
    assert v2.seen[0].headers["x-model-name"] == "llama"
    line = envoy.logged(1)
    assert (line["cluster"], line["route"]) == (f"outbound|8080|v2|{mesh.CHAT}", "chat-v2")
    assert (line["policy"], line["cohort"]) == ("chat", "match")


def timing(answer: Any) -> list[str]:
    found: list[str] = answer.headers["server-timing"].split(",")
    return found


@PLACES
@pytest.mark.parametrize("up", [True, False], ids=["processor", "no processor"])
def test_a_spoofed_header_chooses_nothing(at: str, up: bool, servers: Servers, processor: Process, run: Run) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    process = processor(snapshot) if up else NOBODY
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")], other, process, at=at))
    for _ in range(3):
        answer = envoy.ask("llama", host=mesh.CHAT, **{k.replace("-", "_"): v for k, v in SPOOFED.items()})
        assert (answer.status, answer.text) == (200, "v1")
    seen = v1.seen[0].headers
    assert seen.keys() & SPOOFED.keys() == ({"x-model-name", "x-model-version"} if up else set())
    assert not v2.seen


@pytest.mark.parametrize("models", [("llama",), ("*",)])
def test_a_pin_chooses_only_once_a_processor_has_seen_it(
    models: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(models=models, allow_pin=True),))
    pods = [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")]
    envoy = run(mesh.proxy(snapshot, pods, other, processor(snapshot)))
    assert envoy.ask("llama", host=mesh.CHAT, x_model_version="v2").text == "v2"
    assert envoy.ask("llama", host=mesh.CHAT, x_model_version="v9").text == "v1"
    alone = run(mesh.proxy(snapshot, pods, other, NOBODY))
    assert alone.ask("llama", host=mesh.CHAT, x_model_version="v2").text == "v1"
    assert "x-model-version" not in v1.seen[-1].headers, "who is behind would believe it"


@PLACES
def test_without_a_processor_requests_pass_or_not_as_configured(at: str, servers: Servers, run: Run) -> None:
    v1, other = servers("v1", "other")
    snapshot, pods = Snapshot((mesh.policy(versions=(Version("v1"),)),)), [mesh.pod(v1, "v1")]
    opened = run(mesh.proxy(snapshot, pods, other, NOBODY, at=at))
    assert opened.ask("llama", host=mesh.CHAT).text == "v1"
    closed = run(mesh.proxy(snapshot, pods, other, NOBODY, at=at, fail_open=False))
    assert closed.ask("llama", host=mesh.CHAT).status == 503
    assert len(v1.seen) == 1
    assert closed.ask("llama", host=mesh.OTHER).text == "other"


@PLACES
def test_other_hosts_are_left_alone(at: str, servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),), body_limit=1 << 20),))
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, processor(snapshot), at=at))
    large = b"x" * (3 << 20)
    assert envoy.post(large, "/v1/chat/completions", host=mesh.OTHER, x_beta="true").text == "other"
    assert (asked(envoy), other.seen[0].body == large, other.seen[0].headers["x-beta"]) == (0, True, "true")
    assert envoy.post(large, "/v1/chat/completions", host=mesh.CHAT).status == 413


def test_a_large_body_is_read_to_the_policys_limit(servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, processor(snapshot)))
    assert envoy.post({"text": "x" * (5 << 20), "model": "llama"}, host=mesh.CHAT).text == "v1"
    assert v1.seen[0].headers["x-model-version"] == "v1"
    assert len(v1.seen[0].body) > 5 << 20


def test_a_waypoint_gathers_a_grpc_call_and_routes_it(servers: Servers, processor: Process, run: Run) -> None:
    """Its routes, which say elsewhere that such calls are not gathered, can't be patched."""
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    pods = [mesh.pod(v1, "v1")]
    envoy = run(mesh.proxy(snapshot, pods, other, processor(snapshot), at="SIDECAR_INBOUND", proxies=("waypoint",)))
    message, path = b"\0\0\0\0\x07\n\x05llama", "/inference.GRPCInferenceService/ModelInfer"
    answer = envoy.post(message, path, host=mesh.CHAT, content_type="application/grpc")
    assert (answer.status, envoy.logged()["route"]) == (200, "chat-v1-grpc")


@pytest.mark.parametrize("place", ["gateway", "sidecar"])
def test_a_grpc_call_is_not_gathered(place: str, servers: Servers, processor: Process, run: Run) -> None:
    """It is routed by its first message while the others are not there yet, and has more than Envoy may gather."""
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),), body_limit=1 << 10),))
    at = PLACES_OF_FILTERS[place]
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, processor(snapshot), at=at, proxies=(place,)))
    message = b"\0\0\0\0\x07\n\x05llama"

    def call() -> Iterator[bytes]:
        yield message
        until(lambda: asked(envoy, "streams_closed"))
        for _ in range(20):
            yield message * 1000

    path = "/inference.GRPCInferenceService/ModelStreamInfer"
    answer = envoy.post(call(), path, host=mesh.CHAT, content_type="application/grpc")
    assert (answer.status, envoy.logged()["route"]) == (200, "chat-v1-grpc")
    assert v1.seen[0].body == message * 20_001


def test_a_timeout_ends_no_stream(servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),), timeout=0.4),))
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, processor(snapshot)))
    v1.then = slowly(before=0.0, between=0.25, pieces=4)
    assert envoy.ask("llama", host=mesh.CHAT).text == "0123"
    v1.then = slowly(before=1.0, between=0.0, pieces=1)
    assert envoy.ask("llama", host=mesh.CHAT).status == 504
    assert len(v1.seen) == 2, "a prompt that is being answered is not sent again"


def slowly(before: float, between: float, pieces: int) -> Callable[[Any], None]:
    """An answer that streams; seconds before its head and between its pieces."""

    def answer(request: Any) -> None:
        sleep(before)
        request.send_response(200)
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        for piece in range(pieces):
            request.wfile.write(b"1\r\n%d\r\n" % piece)
            request.wfile.flush()
            sleep(between)
        request.wfile.write(b"0\r\n\r\n")

    return answer


@pytest.mark.parametrize(("ignore", "status"), [(True, 200), (False, 503)])
def test_a_pool_without_servers_fails_over_where_the_policy_lets_it(
    ignore: bool, status: int, servers: Servers, processor: Process, run: Run
) -> None:
    gpu, cpu, other = servers("gpu", "cpu", "other")
    snapshot = mesh.pooled(reject_without_gpu=not ignore)
    process, pods = processor(snapshot), [mesh.pod(gpu, "v1", "west"), mesh.pod(cpu, "v1")]
    well = run(mesh.proxy(snapshot, pods, other, process))
    assert {well.ask("llama", host=mesh.CHAT).text for _ in range(6)} == {"gpu"}
    dead = [Endpoint(NOBODY, pods[0].labels), pods[1]]
    ill = run(mesh.proxy(snapshot, dead, other, process))
    found = [ill.ask("llama", host=mesh.CHAT) for _ in range(4)]
    assert {answer.status for answer in found} == {status}
    assert len(cpu.seen) == (4 if ignore else 0)


def test_endpoints_that_are_in_no_service(servers: Servers, processor: Process, run: Run) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    versions = (
        Version("v1", 1, (mesh.elsewhere(v1.address),)),
        Version("v2", 0, (mesh.elsewhere(v2.address),), match=mesh.BETA),
    )
    snapshot = Snapshot((mesh.policy(versions=versions, sticky=Sticky(header="x-user")),))
    envoy = run(mesh.proxy(snapshot, [], other, processor(snapshot)))
    assert envoy.ask("llama", host=mesh.CHAT).text == "v1"
    assert envoy.ask("llama", host=mesh.CHAT, x_beta="true").text == "v2"
    assert envoy.logged(1)["cluster"] == "outbound|8080|v2|chat.aimesh.internal"


@pytest.mark.parametrize("scheme", ["dns", "unix"])
def test_a_processor_that_is_no_service(
    scheme: str, servers: Servers, processor: Process, run: Run, tmp_path: Any
) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    path = f"unix://{tmp_path}/p.sock"
    at = processor(snapshot, path).address if scheme == "unix" else f"dns:///{processor(snapshot).address}"
    pods = [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")]
    envoy = run(mesh.proxy(snapshot, pods, other, NOBODY, processors=(at,), fail_open=False))
    assert envoy.ask("llama", host=mesh.CHAT, x_beta="true").text == "v2"


def test_policies_share_a_host_by_their_models(servers: Servers, processor: Process, run: Run) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    iris = Policy("iris", "ai", host="chat", models=("iris", "iris-*"), versions=(Version("v2"),))
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)), iris))
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")], other, processor(snapshot)))
    assert [envoy.ask(m, host=mesh.CHAT).text for m in ("llama", "iris", "iris-2")] == ["v1", "v2", "v2"]
    assert envoy.ask("nobody's", host=mesh.CHAT).text == "v1"
    assert [envoy.logged(i)["route"] for i in range(4)] == ["chat-v1", "iris-v2", "iris-v2", "chat-default"]


def test_a_gateway_leads_to_the_hosts_of_all_policies(servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    shop = Policy("shop", "ai", host="shop", models=("iris",))
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)), shop))
    process, pods = processor(snapshot), [mesh.pod(v1, "v1")]
    envoy = run(mesh.proxy(snapshot, pods, other, process, at="GATEWAY", hosts=(mesh.CHAT,)))
    assert [envoy.ask(m, host=mesh.CHAT).text for m in ("llama", "iris")] == ["v1", "other"]


def test_a_waypoint_routes_for_all_who_call(servers: Servers, processor: Process, run: Run) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    pods = [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")]
    envoy = run(mesh.proxy(snapshot, pods, other, processor(snapshot), at="SIDECAR_INBOUND", proxies=("waypoint",)))
    assert envoy.ask("llama", host=mesh.CHAT).text == "v1"
    assert envoy.ask("llama", host=mesh.CHAT, x_beta="true").text == "v2"
    assert envoy.ask("llama", host=mesh.CHAT, x_model_version="v2").text == "v1"
    assert envoy.post({"text": "x" * (5 << 20), "model": "llama"}, host=mesh.CHAT).text == "v1"


@pytest.mark.parametrize(("fail_open", "status"), [(True, 200), (False, 504)])
def test_a_processor_that_hangs_is_waited_for_a_second(
    fail_open: bool, status: int, servers: Servers, run: Run
) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, address, fail_open=fail_open))
        start = monotonic()
        assert envoy.ask("llama", host=mesh.CHAT).status == status
        assert 0.5 < monotonic() - start < 10


def test_a_mirror_gets_copies(servers: Servers, processor: Process, run: Run) -> None:
    v1, copy, other = servers("v1", "copy", "other")
    copy.then = say(b"no", 500)
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"), Version("next", 0, mirror=100))),))
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1"), mesh.pod(copy, "next")], other, processor(snapshot)))
    assert envoy.ask("llama", host=mesh.CHAT).text == "v1"
    until(lambda: copy.seen)
    assert copy.seen[0].body == v1.seen[0].body
