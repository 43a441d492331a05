"""A policy at a waypoint (ambient mode): a real istiod tells a plain Envoy what is a waypoint's, and ours, by ADS.

Left out is what istio-proxy alone can do: Istio's own filters, and with them the end of the tunnels (HBONE) by which
ztunnels call. In its place a listener hands connections on to the waypoint's own, with the filter state of a tunnel;
servers are called in plain text, as those that are not in the mesh.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.mesh_agent import MeshAgent
from tests.kubernetes.mesh_cluster import CONNECTION_MANAGER, PROCESSOR, PROCESSOR_ADDRESSES, without, workload
from tests.kubernetes.mesh_envoys import MeshEnvoy, add_addresses
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_mutual_tls import Models, ask
from tests.kubernetes.test_policies_carried_out import policy, waits_for
from tests.manifests.crds import FOLDER
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
AMBIENT = "ambient"
HOST = f"talk.{AMBIENT}.svc.cluster.local"
ISTIOD, WAYPOINT = "10.77.0.3", "10.77.6.1"
SERVERS = {"10.77.6.2": "v1", "10.77.6.3": "v2"}
WAYPOINT_SERVICE, SERVICE = "10.96.6.1", "10.96.6.2"
OF_GATEWAY = {"gateway.networking.k8s.io/gateway-name": "wp"}
PEER = "spiffe://cluster.local/ns/models/sa/default"
PATIENCE = 120
GATEWAYS = "gateways.gateway.networking.k8s.io"
THE_GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "wp", "namespace": AMBIENT},
    "spec": {
        "gatewayClassName": "istio-waypoint",
        "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
    },
}


def left_out(kind: str, **match: Any) -> dict[str, Any]:
    return {"applyTo": kind, "match": {"context": "ANY", **match}, "patch": {"operation": "REMOVE"}}


ISTIO_ONLY = {
    "apiVersion": "networking.istio.io/v1alpha3",
    "kind": "EnvoyFilter",
    "metadata": {"name": "plain-envoy", "namespace": AMBIENT},
    "spec": {
        "priority": -10,
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "wp"}],
        "configPatches": [
            *(
                without("HTTP_FILTER", name=CONNECTION_MANAGER, subFilter={"name": name})
                for name in ("istio.stats", "waypoint_upstream_peer_metadata")
            ),
            without("NETWORK_FILTER", name="istio.stats"),
            left_out("LISTENER", listener={"name": "connect_terminate"}),
        ],
    },
}
_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters.network"


def _state(key: str, value: str, **more: str) -> dict[str, Any]:
    text = {"text_format_source": {"inline_string": value}}
    return {"object_key": key, "format_string": text, "shared_with_upstream": "ONCE", **more}


TUNNEL = {
    "name": "tunnel",
    "address": {"socket_address": {"address": WAYPOINT, "port_value": 8080}},
    "filter_chains": [
        {
            "filters": [
                {
                    "name": "state",
                    "typed_config": {
                        "@type": f"{_EXTENSIONS}.set_filter_state.v3.Config",
                        "on_new_connection": [
                            _state("envoy.filters.listener.original_dst.local_ip", f"{SERVICE}:8080"),
                            _state("io.istio.peer_principal", PEER, factory_key="envoy.string"),
                        ],
                    },
                },
                {
                    "name": "tcp",
                    "typed_config": {
                        "@type": f"{_EXTENSIONS}.tcp_proxy.v3.TcpProxy",
                        "stat_prefix": "tunnel",
                        "cluster": "main_internal",
                    },
                },
            ]
        }
    ],
}
"""Says to the waypoint what the end of a tunnel would: whom the client called, and who it is."""


@pytest.fixture
def ambient(mesh_cluster: ControlPlane) -> Iterator[ControlPlane]:
    """With an istiod of its own in ambient mode, and a Service of two versions whose waypoint is ``wp``."""
    add_addresses(ISTIOD, WAYPOINT, *SERVERS)
    crds = [crd for crd in yaml.safe_load_all(next(FOLDER.glob("gateway-api-1*.yaml")).read_text()) if crd]
    mesh_cluster.apply(*(crd for crd in crds if crd["metadata"]["name"] == GATEWAYS))
    mesh_cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", GATEWAYS)
    mesh_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AMBIENT}})
    workload(mesh_cluster, AMBIENT, "wp", WAYPOINT_SERVICE, WAYPOINT, pod_labels=OF_GATEWAY)
    workload(mesh_cluster, AMBIENT, "talk", SERVICE, *SERVERS, labels={"istio.io/use-waypoint": "wp"})
    mesh_cluster.apply(THE_GATEWAY, ISTIO_ONLY)
    status = {"status": {"addresses": [{"type": "IPAddress", "value": WAYPOINT_SERVICE}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    mesh_cluster.kubectl("patch", GATEWAYS, "wp", "-n", AMBIENT, *patch)
    # Without the Gateway API's routes, whose kinds are not all at hand.
    flags = {"PILOT_ENABLE_AMBIENT": "true", "PILOT_ENABLE_GATEWAY_API": "false", "POD_NAME": "istiod-ambient"}
    istiod = mesh_cluster.istiod_at(ISTIOD, **flags)
    servers = [ThreadingHTTPServer((address, 8080), Models) for address in SERVERS]
    for server in servers:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield mesh_cluster
    for server in servers:
        server.shutdown()
        server.server_close()
    istiod.end(signal.SIGKILL)
    mesh_cluster.kubectl("delete", "crd", GATEWAYS)


def test_a_waypoint_routes_as_decided(ambient: ControlPlane, tmp_path: Path) -> None:
    spec: dict[str, Any] = {"models": ["talk-*"], "host": HOST, "port": 8080}
    spec["versions"] = [{"name": name, "weight": 1} for name in SERVERS.values()]
    with ExitStack() as stack:
        listen = f"{PROCESSOR_ADDRESSES[0]}:50051"
        processor = stack.enter_context(ClusterProcessor(ambient.admin, "--namespace", AMBIENT, "--listen", listen))
        until(processor.ready().is_ready, PATIENCE)
        node = ("waypoint", WAYPOINT, "wp-0", AMBIENT, OF_GATEWAY)
        stack.enter_context(MeshAgent(ambient, *node[:-1], tmp_path, 15020))
        envoy = MeshEnvoy(*node, tmp_path, agent=True, istiod=ISTIOD, listeners=[TUNNEL])
        stack.enter_context(envoy)

        def answer(prompt: str = "hi") -> tuple[int, str, str, str]:
            """Status, the version that was decided for as client and server are told, and that of the server."""
            status, headers, told = ask(WAYPOINT, 8080, HOST, "talk-7b", prompt)
            name = "x-model-version"
            return status, headers.get(name, ""), told.get(name, ""), SERVERS.get(told.get("by", ""), "")

        until(lambda: answer()[0] == 200, PATIENCE, pause=0.2)
        assert answer()[1:3] == ("", "")
        ambient.apply(policy(AMBIENT, "talk", **spec))
        flags = ("--for", "waypoint", "--waypoint", "wp", "--processor", PROCESSOR)
        stack.enter_context(ControllerProcess(ambient, AMBIENT, *flags))
        waits_for(ambient, AMBIENT, "talk")
        until(lambda: answer()[1], PATIENCE, pause=0.2)
        decided = {(200, *[version] * 3) for version in SERVERS.values()}
        assert {answer() for _ in range(60)} == decided
        assert answer("long " * 500_000) in decided, "a body above Envoy's own limit"
        ambient.kubectl("delete", "mip", "--all", "-n", AMBIENT)
        until(lambda: not live(ambient), PATIENCE)
        until(lambda: answer()[:3] == (200, "", ""), PATIENCE, pause=0.2)
        assert envoy.rejected() == {}, envoy.said()
