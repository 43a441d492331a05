"""Same policies, same requests: the real Envoy and Linkerd's routing of our HTTPRoutes choose the same places.

Linkerd's proxy can't run here. In its stead stands the oracle, which is judged by itself in ``test_route_selection``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest
from linkerd_adapter import plan, route_selection
from linkerd_adapter.explain import ClientRequest, gateway_request
from linkerd_adapter.names import Service
from linkerd_adapter.plan import Apex, Plan
from linkerd_adapter.policy_controller import Cluster
from linkerd_adapter.routes import http_routes

from extproc.exchange.explain import explain as decide
from extproc.gateway.envoy_process import Envoy
from extproc.headers import ROUTING, Headers
from extproc.policy.snapshot import Snapshot, Version
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.envoy.conftest import Processor
from tests.linkerd.traffic import Echo, Got, Sent, send_all
from tests.policy_documents import load_texts

pytestmark = pytest.mark.envoy

GATEWAY = Service("ai", "inference-gateway")
REQUESTS = 7_000

# Policies with hosts of their own, and four that share one: exact names before globs, the longer glob first, one
# without versions, one that owns the rest. Each server is a place: {name} stands for its address.
POLICIES = """
kind: ModelInferencePolicy
metadata: {name: chat, namespace: ai}
spec:
  host: chat
  selector: {matchLabels: {app: chat}}
  models: [llama-3-8b, "llama-3-8b-*"]
  versions:
  - {name: v1, weight: 70, endpoints: ["{chat-v1}"]}
  - {name: v2, weight: 30, endpoints: ["{chat-v2}"], match: [{headers: {x-beta: "true"}}]}
  - {name: v3, weight: 0, endpoints: ["{chat-v3}"], match: [{headers: {x-tier: gold, x-region: eu}}]}
  sticky: {header: x-user-id}
  allowPin: true
  default: v1
---
kind: ModelInferencePolicy
metadata: {name: pooled, namespace: ai}
spec:
  host: pooled
  selector: {matchLabels: {app: pooled}}
  models: [mixtral]
  versions:
  - {name: "2024.1", weight: 3, endpoints: ["{pooled-2024.1-a100-west}", "{pooled-2024.1-h100-east}"]}
  - {name: "2024.2", weight: 1, gpuPools: [h100-east], endpoints: ["{pooled-2024.2-h100-east}"]}
  gpuRequirements: {architecture: "8.0+"}
  sticky: {cookie: session}
---
kind: ModelInferencePolicy
metadata: {name: plain, namespace: ai}
spec:
  host: shared
  selector: {matchLabels: {app: shared}}
  models: [resnet, "iris"]
---
kind: ModelInferencePolicy
metadata: {name: wide, namespace: ai}
spec:
  host: shared
  selector: {matchLabels: {app: shared}}
  models: ["res*", "team-*"]
  versions:
  - {name: v1, weight: 1, endpoints: ["{wide-v1}"]}
  - {name: v2, weight: 1, endpoints: ["{wide-v2}"]}
  sticky: {body: /user}
---
kind: ModelInferencePolicy
metadata: {name: narrow, namespace: ai}
spec:
  host: shared
  selector: {matchLabels: {app: shared}}
  models: ["team-a/*"]
  versions:
  - {name: v1, weight: 1, endpoints: ["{narrow-v1}"]}
  - {name: v2, weight: 1, endpoints: ["{narrow-v2}"]}
  allowPin: true
---
kind: ModelInferencePolicy
metadata: {name: rest, namespace: ai}
spec:
  host: shared
  selector: {matchLabels: {app: shared}}
  versions:
  - {name: v1, weight: 1, endpoints: ["{rest-v1}"]}
  sticky: {header: x-user-id}
---
kind: GpuPool
metadata: {name: a100-west}
spec: {product: NVIDIA-A100-SXM4-80GB, endpoints: ["{pooled-2024.1-a100-west}"]}
---
kind: GpuPool
metadata: {name: h100-east}
spec: {product: NVIDIA-H100-80GB-HBM3, endpoints: ["{pooled-2024.1-h100-east}", "{pooled-2024.2-h100-east}"]}
"""
PLACES = (
    *("chat-v1", "chat-v2", "chat-v3", "pooled-2024.1-a100-west", "pooled-2024.1-h100-east"),
    *("pooled-2024.2-h100-east", "wide-v1", "wide-v2", "narrow-v1", "narrow-v2", "rest-v1", "plain"),
)


def policies(addresses: dict[str, str]) -> Snapshot:
    """With the addresses of servers; those of 10.0.0.0/8 stand for pods, since Linkerd's manifests want no loopback."""
    text = POLICIES
    for name, address in addresses.items():
        text = text.replace(f"{{{name}}}", address)
    documents = [f"apiVersion: ai.istio.io/v1alpha1\n{document.strip()}" for document in text.split("---")]
    return load_texts([("policy.yaml", "\n---\n".join(documents))]).snapshot


def requests(seed: int, count: int) -> Iterator[Sent]:
    """Of every kind that the policies tell apart, and of some that they don't."""
    draw = random.Random(seed)
    models = ["llama-3-8b", "llama-3-8b-lora", "mixtral", "resnet", "iris", "resnext", "team-b", "team-a/x", "other"]
    for number in range(count):
        user = f"user-{draw.randrange(800)}"
        headers: list[tuple[str, str]] = []
        for chance, name, value in (
            (0.6, "x-user-id", user),
            (0.6, "cookie", f"a=b; session={user}"),
            (0.1, "x-beta", draw.choice(["true", "TRUE"])),
            (0.1, "x-tier", "gold"),
            (0.5, "x-region", draw.choice(["eu", "us"])),
            (0.2, "x-model-version", draw.choice(["v1", "v2", "v3", "v9", "2024.1"])),
            (0.05, "x-gpu-pool", "h100-east"),
            (0.05, "x-model-name", draw.choice(models)),
        ):
            if draw.random() < chance:
                headers.append((name, value))
        model = draw.choice(models)
        if draw.random() < 0.1:  # an API that names model and version in its path
            path = f"/v2/models/{draw.choice(['resnet', 'iris', 'llama-3-8b', 'resnext'])}"
            path += f"/versions/{draw.choice(['v1', 'v2', '7'])}" if draw.random() < 0.7 else ""
            yield Sent(f"{path}/infer", tuple(headers), b'{"inputs": []}')
        elif draw.random() < 0.05:
            yield Sent("/metrics", tuple(headers), b"{}")
        else:
            asked = {"model": model, "messages": [], **({"user": user} if draw.random() < 0.7 else {})}
            yield Sent("/v1/chat/completions", tuple(headers), json.dumps(asked | {"n": number}).encode())


class Linkerd:
    """The oracle over our own HTTPRoutes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.plan: Plan = plan.make(snapshot, GATEWAY.namespace)
        rendered = [doc for apex in self.plan.apexes for doc in http_routes(snapshot, self.plan, apex)]
        self._cluster = Cluster(rendered, live=False)
        self._snapshot = snapshot
        self._routes = {apex.service: self._read(apex) for apex in self.plan.apexes}
        # The name that PLACES has, for each backend.
        self.names = {
            (apex.service, backend.service): _place(place)
            for apex in self.plan.apexes
            for policy in apex.policies
            for place in self.plan.places[policy.name]
            for backend in place.backends
        }

    def _read(self, apex: Apex) -> list[route_selection.Route]:
        routes, ignored = self._cluster.routes(apex.service, apex.port, GATEWAY.namespace)
        assert not ignored
        assert routes
        return routes

    def places(self, policy: str | None, request: route_selection.Request) -> set[str]:
        """Where a request may come to that the gateway sends for this policy."""
        apex = self.plan.apex_of(self._snapshot.by_name[policy or "rest"])
        found = route_selection.select(self._routes[apex.service], request)
        assert found is not None
        return {self.names[apex.service, Service(b.namespace, b.name)] for b in route_selection.shares(found.rule)}


def _place(place: plan.Place) -> str:
    target = place.target
    return "-".join(part for part in (target.policy, target.version, target.pool) if part)


async def through_envoy(sending: Sequence[Sent], directory: Path) -> list[Got]:
    """What the real Envoy makes of the requests, with routes as we render them for it."""
    loop = asyncio.get_running_loop()
    servers = {name: await loop.create_server(partial(Echo, name), "127.0.0.1", 0) for name in PLACES}
    addresses = {name: f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for name, server in servers.items()}
    snapshot = policies(addresses)
    processor = Processor(snapshot)
    options = EnvoyOptions(
        listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(processor.address,), access_log="", observe=False
    )
    # `plain` has no version that could name endpoints: its host is its server.
    plain = msgspec.structs.replace(snapshot.by_name["plain"], versions=(Version("", 1, (addresses["plain"],)),))
    everything = Snapshot(tuple(plain if p.name == "plain" else p for p in snapshot.policies), snapshot.pools)
    document = bootstrap(snapshot, options, everything)
    (chain,) = document["static_resources"]["listeners"][0]["filter_chains"]
    (route,) = [f for f in chain["filters"][0]["typed_config"]["http_filters"] if f["name"] == "aimesh.route"]
    route["typed_config"]["message_timeout"] = "60s"  # a machine that stands still passes nothing on undecided
    with Envoy(document, directory) as envoy:
        await asyncio.to_thread(envoy.wait_ready)
        host, _, port = envoy.listen_address.rpartition(":")
        found = await send_all(host, int(port), sending, 16)
    processor.stop()
    for server in servers.values():
        server.close()
    return found


def routing(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(pair for pair in headers if pair[0] in ROUTING)


@pytest.mark.timeout(240)
def test_envoy_and_linkerd_choose_the_same_place_for_every_request(tmp_path: Path) -> None:
    sending = list(requests(7, REQUESTS))
    got = asyncio.run(through_envoy(sending, tmp_path))
    snapshot = policies({name: f"10.0.0.{number}:8000" for number, name in enumerate(PLACES, 1)})
    linkerd = Linkerd(snapshot)
    cohorts: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    for request, answer in zip(sending, got, strict=True):
        assert answer.status == 200
        decision = decide(snapshot, "POST", request.path, request.headers, request.body, b"entropy!")
        cohort = decision["cohort"] or "none"
        # Where nothing is drawn, Envoy asked the server with the very headers that the policy wants ...
        if cohort in ("sticky", "match", "pin", "default"):
            wanted = gateway_request(
                ClientRequest("POST", request.path, request.headers, request.body), decision
            ).headers
            assert routing(answer.headers) == routing((n, v.decode()) for n, v in wanted), (request, answer)
        # ... and by the headers with which it asked, whatever was drawn, Linkerd comes to the same place.
        places = linkerd.places(
            decision["policy"], route_selection.Request("POST", request.path, Headers.of(answer.headers))
        )
        assert answer.server in places, (request, answer)
        assert len(places) == 1 or cohort == "none"
        cohorts[cohort] += 1
        reached[answer.server] += 1
    assert set(reached) == set(PLACES)
    assert set(cohorts) == {"sticky", "match", "pin", "default", "weight", "none"}
    assert min(cohorts.values()) > 100, cohorts
    assert sum(cohorts.values()) == REQUESTS
