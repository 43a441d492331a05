"""A mesh for tests: pods behind Services, another host beside them, and who may call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, Snapshot, Version
from extproc.render.istio.istio_options import POOL_LABEL
from extproc.render.istio.manifests import IstioOptions, documents
from tests import fast_yaml
from tests.envoy.conftest import ModelServer, Processor
from tests.house.tree import ROOT
from tests.istio.patching import Proxy
from tests.istio.translation import Endpoint, Service, clusters, entries, virtual_host

CHAT = "chat.ai.svc.cluster.local"
OTHER = "shop.ai.svc.cluster.local"
PROCESSOR = "aimesh-extproc.aimesh-system.svc.cluster.local"
GATEWAY = "istio-ingress/gateway"
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
OURS = ROOT / "istio" / "destinationrule.yaml"
"""How proxies treat the processors."""
SECRET = b"a secret of at least thirty-two bytes"
PORT = 8080

A100 = Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 81920)
BETA = (HeaderMatch((("x-beta", b"true"),)),)


def policy(**extra: Any) -> Policy:
    """Everything goes to v1, but for what a beta tester sends."""
    chosen = {"models": ("llama",), "versions": (Version("v1", 1), Version("v2", 0, match=BETA))}
    return Policy("chat", "ai", host="chat", **chosen | extra)


def pooled(**extra: Any) -> Snapshot:
    """One version on a pool of GPUs."""
    chat = policy(versions=(Version("v1"),), gpu=Requirement("a100"), **extra)
    return Snapshot((chat,), (GpuPool("west", A100),))


def pod(server: ModelServer, version: str = "", pool: str = "") -> Endpoint:
    labels = {"version": version, POOL_LABEL: pool}
    return Endpoint(server.address, {key: value for key, value in labels.items() if value})


_ELSEWHERE = "192.0.2.1"
"""Stands for loopback in policies, which are refused with the latter."""


def elsewhere(address: str) -> str:
    """A server's address as a policy may list it; ``proxy`` leads to the real one."""
    return address.replace("127.0.0.1", _ELSEWHERE)


def proxy(
    snapshot: Snapshot,
    pods: Iterable[Endpoint],
    other: ModelServer,
    processor: Processor | str,
    *,
    at: str = "SIDECAR_OUTBOUND",
    authentication: Iterable[dict[str, Any]] = (),
    **options: Any,
) -> Proxy:
    """A client's sidecar or the gateway with our manifests for ``view``."""
    address = processor if isinstance(processor, str) else processor.address
    chosen = IstioOptions(**options)
    manifests = [*documents(snapshot, chosen), *fast_yaml.load_all(OURS.read_text())]
    services = [
        Service(CHAT, PORT, tuple(pods)),
        Service(OTHER, PORT, (pod(other),)),
        Service(PROCESSOR, 50051, (Endpoint(address),), http2=True),
        *entries(manifests),
    ]
    if chosen.service is None:
        services = [service for service in services if service.host != PROCESSOR]
    is_gateway = at == "GATEWAY"
    made = Proxy(
        at,
        80 if is_gateway else PORT,
        [virtual_host(host, PORT, manifests, GATEWAY if is_gateway else "") for host in (CHAT, OTHER)],
        json.loads(json.dumps(clusters(services, manifests)).replace(_ELSEWHERE, "127.0.0.1")),
        "istio-ingress" if is_gateway else "ai",
        {"istio": "ingressgateway"} if is_gateway else {"app": "chat", GATEWAY_NAME: "waypoint"},
        list(authentication),
    )
    made.apply(manifests)
    return made


def counted(processor: Processor) -> list[dict[str, str]]:
    """The labels of every exchange that was observed."""
    return [
        sample.labels
        for family in processor.metrics.collect()
        for sample in family.samples
        if sample.name == "inference_requests_total" and sample.value
    ]


def authenticated() -> list[dict[str, Any]]:
    """What Istio makes of a RequestAuthentication and of an AuthorizationPolicy that denies ``/admin``."""
    http = "type.googleapis.com/envoy.extensions.filters.http"
    key = {"kty": "oct", "alg": "HS256", "k": _base64(SECRET)}
    provider = {"issuer": "me", "forward": True, "local_jwks": {"inline_string": json.dumps({"keys": [key]})}}
    denied = {
        "permissions": [{"url_path": {"path": {"prefix": "/admin"}}}],
        "principals": [{"any": True}],
    }
    return [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": f"{http}.jwt_authn.v3.JwtAuthentication",
                "providers": {"me": provider},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "me"}}],
            },
        },
        {
            "name": "envoy.filters.http.rbac",
            "typed_config": {
                "@type": f"{http}.rbac.v3.RBAC",
                "rules": {"action": "DENY", "policies": {"admin": denied}},
            },
        },
    ]


def token(secret: bytes = SECRET) -> str:
    """A JSON Web Token, for the header ``authorization``."""
    head, claims = (_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, {"iss": "me"}))
    signature = hmac.digest(secret, f"{head}.{claims}".encode(), hashlib.sha256)
    return f"Bearer {head}.{claims}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
