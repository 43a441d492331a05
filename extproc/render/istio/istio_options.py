"""Options of manifests for Istio that no policy has: where things are in the mesh, and Istio's release; and names.

istiod silently drops fields that it does not know. A field that the target's release lacks is omitted, and reported
(``IstioOptions.notes``) where that changes behaviour.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from extproc.errors import SetupError
from extproc.policy.snapshot import Policy
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import PROCESSOR, EnvoyOptions, host_port

ProxyKind: TypeAlias = Literal["gateway", "sidecar", "inbound", "waypoint"]
"""Proxies that get our filters: the gateway, clients' sidecars, model servers' sidecars, an ambient waypoint."""
PROXY_KINDS: tuple[ProxyKind, ...] = get_args(ProxyKind)
Release: TypeAlias = Literal["1.28", "1.29", "1.30", "1.31"]
RELEASES: tuple[Release, ...] = get_args(Release)
"""Releases of Istio, oldest first. They run Envoy 1.36 to 1.39."""

GROUP = "ai.istio.io"
POOL_LABEL = f"{GROUP}/gpu-pool"
VERSION_LABEL = "version"
"""Labels of pods: the model's version and the GPU pool that they serve."""
DOMAIN = "aimesh.internal"
"""Domain of the hosts of our ServiceEntries."""


class IstioOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one rendering."""

    proxies: tuple[ProxyKind, ...] = ("gateway", "sidecar")
    release: Release = "1.30"
    namespace: str = "default"
    """Namespace of policies that name none."""
    gateway: str = "istio-ingress/gateway"
    """``namespace/name`` of the ingress Gateway; its pods are in the same namespace."""
    gateway_labels: tuple[tuple[str, str], ...] = (("istio", "ingressgateway"),)
    """Labels of the gateway's pods."""
    hosts: tuple[str, ...] = ()
    """Hosts by which clients call the gateway; empty: the policies' own."""
    callers: str = ""
    """Namespace of the pods that call models inside the mesh; empty: the policies' own."""
    waypoint: str = "waypoint"
    """Name of the waypoint in each policy's namespace."""
    processors: tuple[str, ...] = ("aimesh-extproc.aimesh-system.svc.cluster.local:50051",)
    """``host:port`` of a Service of the mesh; or any number of ``dns:///host:port`` and ``unix:///path``."""
    meshed_endpoints: bool = False
    """The policies' endpoints are pods with sidecars (in other clusters): use mutual TLS."""
    body: Literal["buffered", "streamed"] = "buffered"
    fail_open: bool = True
    rules: bool = False
    """Add a PrometheusRule, for the Prometheus operator."""
    routes_only: bool = False
    """Only the VirtualServices: to be applied first where versions, pools or hosts were removed."""
    access_log: str = ""
    """Name of the mesh's extension provider that writes our access log; empty: logs stay as they are."""

    @property
    def service(self) -> tuple[str, int] | None:
        """Host and port of the processor's Service; None where the EnvoyFilters add a cluster for it."""
        first = self.processors[0]
        return None if first.startswith(("dns:", "unix:")) else host_port(first)

    @property
    def routes(self) -> bool:
        """Whether some proxy routes requests, rather than only timing them."""
        return any(kind != "inbound" for kind in self.proxies)

    @property
    def envoy(self) -> EnvoyOptions:
        """The options for ``render.envoy`` that follow from these."""
        cluster = PROCESSOR
        if self.service is not None:
            host, port = self.service
            cluster = f"outbound|{port}||{host}"
        addresses = tuple(address.removeprefix("dns:///") for address in self.processors)
        return EnvoyOptions(processors=addresses, cluster=cluster, body=self.body, fail_open=self.fail_open)

    def since(self, release: Release) -> bool:
        """Whether the target's Istio is ``release`` or newer."""
        return RELEASES.index(self.release) >= RELEASES.index(release)

    def notes(self) -> list[str]:
        """Texts for the user: what the target's Istio lacks or does not support."""
        found = []
        if self.body == "streamed":
            found.append("--body streamed has only been run with Envoy 1.40, which is newer than any Istio's")
            if not self.since("1.30"):
                found.append(
                    f"Istio {self.release} has no allow_content_length_header: with --body streamed, requests "
                    "reach the model servers in chunks, without content-length"
                )
        if "waypoint" in self.proxies:
            found.append("Istio does not support EnvoyFilter on waypoints: it works as of 1.26, and may stop to")
        if not self.since("1.29"):
            found.append(f"Istio {self.release} has no formatter in custom tags: spans do not tell their route")
        return found


def validated(options: IstioOptions) -> IstioOptions:
    """``options`` themselves. Raises ``SetupError`` where they are contradictory or incomplete."""
    addresses = options.processors
    if len(addresses) > 1 and not all(a.startswith(("dns:", "unix:")) for a in addresses):
        raise SetupError("a Service is one processor address; for several, write dns:///host:port or unix:///path")
    if options.service and options.service[0].count(".") < 2:
        raise SetupError(
            f"{options.service[0]!r} is not the whole name of a Service; write --processor "
            "NAME.NAMESPACE.svc.cluster.local:PORT, or dns:///host:port for what is no Service"
        )
    if not re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", options.gateway):
        raise SetupError(f"{options.gateway!r} is no gateway; write --gateway NAMESPACE/NAME")
    return options


def namespace(policy: Policy, options: IstioOptions) -> str:
    """Namespace of the manifests of ``policy``."""
    return policy.namespace or options.namespace


def service_host(policy: Policy, options: IstioOptions) -> str:
    """The apex Service's host as Istio names it: fully qualified."""
    if policy.host.endswith(".svc"):
        return f"{policy.host}.cluster.local"
    if "." in policy.host or policy.host.startswith("["):
        return policy.host
    return f"{policy.host}.{namespace(policy, options)}.svc.cluster.local"


def slug(*parts: str, digested: bool = False) -> str:
    """A DNS label made of ``parts``, at most 50 characters: joined by dashes, with a digest of them at the end where
    they had to be changed or shortened, or where it is asked for (``digested``).
    """
    whole = "-".join(part for part in parts if part)
    label = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-")
    if label == whole and len(label) <= 50 and not digested:
        return label
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{label[:41].strip('-')}-{digest}"


def host_slug(host: str) -> str:
    """A DNS label made of a host."""
    return slug(*host.removesuffix(".svc.cluster.local").split("."))


_PARTS = 16
"""Into which what is too large for one object is divided: always as many, so that nothing moves when more comes."""


def part_of(text: str) -> int:
    """The part that ``text`` belongs to."""
    return hashlib.sha256(text.encode()).digest()[0] % _PARTS


def part_name(name: str, part: int) -> str:
    """The name of the object with a part of what belongs into the object ``name``."""
    return f"{name}-part-{part:02}"


def whole_name(name: str) -> str:
    """The name of the object that this one, if it has a part, has it of."""
    return re.sub(r"-part-[0-9]{2}$", "", name)


def manifest(kind: str, version: str, name: str, where: str, spec: Doc, **annotations: str) -> Doc:
    """A Kubernetes object."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": where,
        "labels": {"app.kubernetes.io/managed-by": "extproc"},
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
