"""A real pilot-agent beside an Envoy: it brings the Envoy a certificate of istiod's CA, and what istiod tells it."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Self

from tests.kubernetes.control_plane import ISTIOD, ControlPlane, Program
from tests.waiting import until

XDS = "etc/istio/proxy/XDS"
SDS = "var/run/secrets/workload-spiffe-uds/socket"
"""The agent's sockets, within its place."""
_ROOT = "var/run/secrets/istio/root-cert.pem"
_TOKEN = "var/run/secrets/tokens/istio-token"


class MeshAgent:
    """The agent of a pod of the ServiceAccount ``default``, without its Envoy; ends with the context."""

    def __init__(
        self, control_plane: ControlPlane, kind: str, address: str, name: str, namespace: str, place: Path, port: int
    ) -> None:
        """``kind``: of the node; ``place``: a folder for its files; ``port``: of its status page."""
        self._sockets = [place / XDS, place / SDS]
        # Pods mount it from a ConfigMap of their namespace, which istiod does not write for minutes after an outage of
        # the API server.
        authority = ("get", "secret", "istio-ca-secret", "-n", "istio-system", "-o", "jsonpath={.data.ca-cert\\.pem}")
        root = base64.b64decode(control_plane.kubectl(*authority)).decode()
        token = control_plane.kubectl("create", "token", "default", "-n", namespace, "--audience=istio-ca").strip()
        for path, text in ((_ROOT, root), (_TOKEN, token)):
            (place / path).parent.mkdir(parents=True)
            (place / path).write_text(text)
        # The Envoy is the test's own: what the agent starts for one sleeps. Without any it would serve no certificates.
        (place / "sleep").write_text("#!/bin/sh\nexec sleep infinity\n")
        (place / "sleep").chmod(0o755)
        bootstrap = "binaryPath: ./sleep, customConfigFile: bootstrap.json"
        environment = {
            "INSTANCE_IP": address,
            "ISTIO_META_CLUSTER_ID": "Kubernetes",
            "PILOT_CERT_PROVIDER": "istiod",
            "POD_NAME": name,
            "POD_NAMESPACE": namespace,
            "PROXY_CONFIG": f"{{discoveryAddress: '{ISTIOD}:15012', statusPort: {port}, {bootstrap}}}",
            "SERVICE_ACCOUNT": "default",
            "TRUST_DOMAIN": "cluster.local",
        }
        arguments = ["proxy", kind, f"--domain={namespace}.svc.cluster.local"]
        self._agent = Program("pilot-agent", arguments, place, environment)

    def __enter__(self) -> Self:
        until(lambda: all(socket.is_socket() for socket in self._sockets), 60, pause=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._agent.end(signal.SIGKILL)
