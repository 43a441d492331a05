"""Real Envoys that have everything from the real istiod by ADS: a client's sidecar, and a gateway."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from extproc.gateway.envoy_binary import find_envoy
from tests.kubernetes.control_plane import ISTIOD_ADDRESS
from tests.kubernetes.mesh_agent import SDS, XDS
from tests.kubernetes.mesh_cluster import CLIENT, GATEWAY, INGRESS, MODELS
from tests.waiting import until

_H2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class MeshEnvoy:
    """An Envoy as istio-proxy starts it; ends with the context.

    It asks istiod without an agent in between, and has no certificates, unless there is a pilot-agent in its place.
    """

    def __init__(
        self,
        kind: str,
        address: str,
        name: str,
        namespace: str,
        labels: dict[str, str],
        place: Path,
        *,
        agent: bool = False,
        istiod: str = "",
        listeners: Sequence[dict[str, Any]] = (),
    ) -> None:
        """``kind``: of the node, ``sidecar``, ``router`` or ``waypoint``. ``place``: a folder for its files, with those
        of its ``agent`` where it has one. ``istiod``: the address of one that it asks itself; empty: the tests' own, by
        the agent where it has one. ``listeners``: more than istiod tells it.
        """
        self.kind = kind
        place.mkdir(exist_ok=agent)
        self.access_log = place / "access.log"
        self._log = place / "envoy.log"
        self._admin_file = place / "admin.txt"
        configuration = place / "bootstrap.json"
        made = _bootstrap(kind, address, name, namespace, labels, agent=agent, istiod=istiod)
        made["static_resources"]["listeners"] = list(listeners)
        configuration.write_text(json.dumps(made))
        flags = ["--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "200"]
        flags += ["--admin-address-path", str(self._admin_file), "--log-level", "warning"]
        flags += ["--drain-time-s", "45"]  # Istio's drainDuration
        # The mesh's access log goes to /dev/stdout.
        with self.access_log.open("ab") as out, self._log.open("ab") as log:
            command = [str(find_envoy()), "-c", str(configuration), *flags]
            self.process = subprocess.Popen(command, stdout=out, stderr=log, stdin=subprocess.DEVNULL, cwd=place)

    def __enter__(self) -> Self:
        until(self._is_ready, 60, pause=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()[-2000:]
        try:
            return self.ask("/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ask(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer of its admin port."""
        host, _, port = self._admin_file.read_text().strip().rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match the regular expression ``pattern``."""
        pairs = (line.rpartition(": ") for line in self.ask(f"/stats?filter={pattern}")[1].decode().splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdecimal()}

    def rejected(self) -> dict[str, int]:
        """Updates of istiod's that it refused, by their kind: there should be none."""
        return {name: count for name, count in self.stats("update_rejected$").items() if count}

    def said(self) -> str:
        return self._log.read_text()


def capture() -> None:
    """Leads what is sent to Services' addresses to the sidecar, as istio-iptables does."""
    ip, iptables = shutil.which("ip") or "ip", shutil.which("iptables") or "iptables"
    subprocess.run([ip, "route", "replace", "10.96.0.0/16", "dev", "lo", "src", CLIENT], check=True)
    rule = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", "10.96.0.0/16", "-j", "REDIRECT", "--to-ports", "15001"]
    subprocess.run([iptables, *rule], check=True)


def add_addresses(*addresses: str) -> None:
    """Gives this machine's loopback the addresses of pods."""
    for address in addresses:
        subprocess.run([shutil.which("ip") or "ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)


def sidecar(place: Path) -> MeshEnvoy:
    """The sidecar of the client's pod."""
    return MeshEnvoy("sidecar", CLIENT, "client-0", MODELS, {"app": "client"}, place)


def gateway(place: Path) -> MeshEnvoy:
    """The ingress gateway; it listens on port 80."""
    return MeshEnvoy("router", GATEWAY, "gateway-0", INGRESS, {"istio": "ingressgateway"}, place)


def _cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    """One that is asked by gRPC."""
    http2 = {f"{_H2}": {"@type": f"type.googleapis.com/{_H2}", "explicit_http_config": {"http2_protocol_options": {}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": http2,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _bootstrap(
    kind: str, address: str, name: str, namespace: str, labels: dict[str, str], *, agent: bool, istiod: str
) -> dict[str, Any]:
    """What pilot-agent's template has of it (istio/istio, tools/packaging/common/envoy_bootstrap.json)."""
    metadata = {
        "NAME": name,
        "NAMESPACE": namespace,
        "LABELS": labels,
        "ISTIO_VERSION": "1.31.0",
        "CLUSTER_ID": "Kubernetes",
        "INTERCEPTION_MODE": "REDIRECT",
        "SERVICE_ACCOUNT": "default",
        "MESH_ID": "cluster.local",
        "WORKLOAD_NAME": name.rpartition("-")[0],
        "INSTANCE_IPS": address,
    }
    direct = {"socket_address": {"address": istiod or ISTIOD_ADDRESS, "port_value": 15010}}
    clusters = [_cluster("xds-grpc", {"pipe": {"path": XDS}} if agent and not istiod else direct)]
    if agent:
        clusters.append(_cluster("sds-grpc", {"pipe": {"path": SDS}}))
    by_ads = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {
        "node": {
            "id": f"{kind}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local",
            "cluster": f"{name.rpartition('-')[0]}.{namespace}",
            "metadata": metadata,
        },
        "layered_runtime": {
            "layers": [
                {"name": "istio", "static_layer": {"re2.max_program_size.error_level": "32768"}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
                },
            }
        ],
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "lds_config": by_ads,
            "cds_config": by_ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "set_node_on_first_message_only": True,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": clusters},
    }
