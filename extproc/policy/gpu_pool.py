"""A pool of GPUs, as decisions know it."""

from __future__ import annotations

import msgspec

from extproc.policy.gpu import Gpu
from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.upstream import PLAIN, Upstream


class GpuPool(msgspec.Struct, frozen=True, dict=True):
    """A ``GpuPool``: GPUs of one kind and the endpoints that serve on them."""

    name: str
    gpu: Gpu
    endpoints: tuple[str, ...] = ()
    """``host:port``."""
    locality: str = ""
    """``region``, ``region/zone`` or ``region/zone/subzone``."""
    metrics_type: str = ""
    metrics_url: str = ""
    """Page with the load of servers of ``metrics_type``; empty: they report it in response headers."""
    upstream: Upstream = PLAIN
    node_selector: tuple[tuple[str, str], ...] = ()
    """Labels of its nodes, for whoever knows Nodes: its GPUs are read from them, and its endpoints found on them."""
    namespace: str = ""
    allowed_namespaces: tuple[str, ...] = ()
    """Other namespaces whose policies may use it; ``*``: all."""
    grpc_endpoints: tuple[str, ...] = ()
    """``host:port`` for gRPC; empty: ``endpoints``."""
    gpu_metrics_url: str = ""
    """Page of an exporter with the utilization of its GPUs."""
    load_balancer: LoadBalancer | None = None
    """None: the policy's."""
    cluster: str = ""
    """Name of the Kubernetes cluster, or whatever fails as one, that its servers are in."""

    def is_open_to(self, namespace: str) -> bool:
        """Whether policies of this namespace may use it. What has no namespace, as in a file, knows no bounds."""
        allowed = (self.namespace, *self.allowed_namespaces)
        return not self.namespace or not namespace or namespace in allowed or "*" in allowed
