"""The inference gateway: a meshed Envoy with the processor beside it, as a Deployment with all that it needs. Pure.

Linkerd's proxy has no external processing, and chooses a request's route at the *client*; so a header must be there
before. The gateway is that client: the processor says where a request belongs, Envoy writes it into headers and dials
the apex, and the Linkerd proxy of this very pod routes by them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from extproc import __version__
from extproc.errors import SetupError
from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc, to_yaml
from extproc.render.envoy.envoy_options import EnvoyOptions
from linkerd_adapter.gateway_bootstrap import bootstrap
from linkerd_adapter.names import Service
from linkerd_adapter.plan import Plan

SOCKETS, POLICIES, CONFIG = "/run/aimesh", "/etc/aimesh", "/etc/envoy"
PROCESSOR, PROCESSOR_ADMIN = f"unix://{SOCKETS}/processor.sock", f"unix://{SOCKETS}/admin.sock"
HTTP_PORT, PROBE_PORT = 8080, 9090
H2C = "kubernetes.io/h2c"
"""HTTP/2 without TLS, as an ``appProtocol``."""
MAX_CONFIG_MAP_BYTES = 1 << 20
"""Of all data in a ConfigMap, by the API server."""
USER_ID = 65532
"""User and group ID of both containers, which share the sockets."""
ENVOY_MIB = 1024
"""Memory limit of Envoy's container, MiB."""
DRAIN_SECONDS = 60
"""Seconds between the end of readiness and SIGTERM: clients stop sending, and answers under way complete."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies do not say."""

    gateway: Service
    """Name and namespace of everything of the gateway's."""
    image: str = f"aimesh-extproc:{__version__}"
    """Of the processor; its entry point is ``extproc``."""
    envoy_image: str = "docker.io/envoyproxy/envoy:distroless-v1.40.0"
    replicas: int | None = 2
    """None: whoever scales the Deployment says so."""
    target_port: int | str | None = None
    """On which the model servers' pods listen, number or name; None: each policy's own port."""
    app_protocol: Literal["http", "kubernetes.io/h2c"] | None = None
    """Of the apexes and the Services behind them; None: Linkerd looks at what comes. The gateway's Envoy speaks it."""
    audit: bool = False
    """Let other clients reach the model servers, and log them, instead of shutting them out."""


def envoy_options() -> EnvoyOptions:
    """How the Envoy of the gateway is told to listen, and where it finds the processor."""
    return EnvoyOptions(
        listen=f"0.0.0.0:{HTTP_PORT}",
        admin="127.0.0.1:9901",
        processors=(PROCESSOR,),
        behind_linkerd=True,
        heap=ENVOY_MIB * 4 // 5 << 20,  # the rest is for what is not on the heap
    )


def gateway(snapshot: Snapshot, plan: Plan, policies: Mapping[str, str], options: Options) -> Iterator[Doc]:
    """``policies``: the policy files' texts by their names. Raises ``SetupError`` where they are too large."""
    http2 = options.app_protocol == H2C
    probes = f"0.0.0.0:{PROBE_PORT}"
    document = bootstrap(snapshot, plan, envoy_options(), probes=probes, processor_admin=PROCESSOR_ADMIN, http2=http2)
    config = to_yaml(document)
    name = options.gateway.name
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(options)}
    yield _config_map(options, f"{name}-policies", policies)
    yield _config_map(options, f"{name}-envoy", {"envoy.yaml": config})
    yield _deployment(options, hashlib.sha256(config.encode()).hexdigest())
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(options),
        "spec": {
            "selector": labels(options.gateway),
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http"},
                {"name": "http-admin", "port": PROBE_PORT, "targetPort": "probes"},  # where a controller finds it
            ],
        },
    }
    yield {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(options),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(options.gateway)}},
    }


def _metadata(options: Options, name: str = "") -> Doc:
    gateway = options.gateway
    return {"name": name or gateway.name, "namespace": gateway.namespace, "labels": labels(gateway)}


def labels(gateway: Service) -> Doc:
    """Of everything of the gateway's; its pods are found by them."""
    return {"app.kubernetes.io/name": gateway.name}


def _config_map(options: Options, name: str, data: Mapping[str, str]) -> Doc:
    size = sum(len(text.encode()) for text in data.values())
    if size > MAX_CONFIG_MAP_BYTES:
        raise SetupError(
            f"{name} would hold {size} bytes, and a ConfigMap holds {MAX_CONFIG_MAP_BYTES}; split the policies"
        )
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(options, name), "data": dict(data)}


def _deployment(options: Options, checksum: str) -> Doc:
    name = options.gateway.name
    volumes = [
        {"name": "sockets", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "policies", "configMap": {"name": f"{name}-policies"}},
        {"name": "envoy", "configMap": {"name": f"{name}-envoy"}},
    ]
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_envoy(options), _processor(options)],
        "volumes": volumes,
    }
    annotations = {
        "linkerd.io/inject": "enabled",  # never `ingress`: that routes by a header that clients could write
        "kubectl.kubernetes.io/default-container": "envoy",
        "checksum/envoy": checksum,  # Envoy reads its file once; the processor watches the policies by itself
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(options),
        "spec": {
            **({} if options.replicas is None else {"replicas": options.replicas}),
            "selector": {"matchLabels": labels(options.gateway)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels(options.gateway), "annotations": annotations}, "spec": pod},
        },
    }


def _envoy(options: Options) -> Doc:
    return {
        "name": "envoy",
        "image": options.envoy_image,
        "args": ["-c", f"{CONFIG}/envoy.yaml", "--disable-hot-restart", "--concurrency", "2"],
        "ports": [{"name": "http", "containerPort": HTTP_PORT}, {"name": "probes", "containerPort": PROBE_PORT}],
        "readinessProbe": _probe("/envoy/ready", 2),
        "livenessProbe": _probe("/envoy/ready", 10) | _LIVENESS_LIMITS,
        "resources": {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"memory": f"{ENVOY_MIB}Mi"}},
        "volumeMounts": [
            {"name": "envoy", "mountPath": CONFIG, "readOnly": True},
            {"name": "sockets", "mountPath": SOCKETS},
        ],
        **_CONTAINER_DEFAULTS,
    }


def _processor(options: Options) -> Doc:
    """It has no readiness of its own: without it requests pass on by weight, which is better than none at all.

    Until it has answered once the pod is not ready.
    """
    return {
        "name": "processor",
        "image": options.image,
        "args": ["serve", "-f", POLICIES, "--listen", PROCESSOR, "--admin", PROCESSOR_ADMIN],
        "startupProbe": _probe("/readyz", 2) | {"failureThreshold": 30},
        "livenessProbe": _probe("/healthz", 10) | _LIVENESS_LIMITS,
        "resources": {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [
            {"name": "policies", "mountPath": POLICIES, "readOnly": True},
            {"name": "sockets", "mountPath": SOCKETS},
        ],
        **_CONTAINER_DEFAULTS,
    }


def _probe(path: str, seconds: int) -> Doc:
    return {"httpGet": {"path": path, "port": PROBE_PORT}, "periodSeconds": seconds}


_LIVENESS_LIMITS: Doc = {"timeoutSeconds": 3, "terminationGracePeriodSeconds": 5}
"""Of liveness probes: a container that hangs is killed after 5 s, without the drain of an orderly stop."""

_CONTAINER_DEFAULTS: Doc = {
    "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
