"""EnvoyFilter: the cluster at which a processor is called, however it comes."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_patches import Patch, Processor
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh, covers

UNKNOWN_CLUSTER = Rule(
    "AIM141",
    "error",
    "a cluster that nothing makes",
    "Istio's own are named `outbound|PORT|SUBSET|HOST`; any other needs a `CLUSTER` patch with `ADD`. With a wrong "
    "name requests pass unprocessed, in older Envoys even where `failure_mode_allow` is false (envoy#45220).",
    "write cluster_name: outbound|50051||SERVICE.NAMESPACE.svc.cluster.local, or add the cluster",
)
NO_PORT = Rule(
    "AIM142",
    "error",
    "the processor's Service has no such port or no such subset",
    "Istio makes a cluster for each port of the Service and each subset of its DestinationRules; there is none by "
    "this name.",
    "name a port that the Service has",
)
NOT_GRPC = Rule(
    "AIM143",
    "error",
    "the processor's port is not declared as gRPC",
    "Istio then calls it with HTTP/1.1, and gRPC needs HTTP/2.",
    "name the port grpc or grpc-…, or give it appProtocol: grpc",
)
NO_HTTP2 = Rule(
    "AIM144",
    "error",
    "an added cluster for gRPC without HTTP/2",
    "gRPC needs HTTP/2; a cluster that does not say so is called with HTTP/1.1.",
    'write typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": …, '
    "explicit_http_config: {http2_protocol_options: {}}}}",
)
PLAINTEXT = Rule(
    "AIM145",
    "error",
    "plaintext to a processor that wants mutual TLS",
    "A cluster that is added by hand has no transport socket of the mesh; the sidecar of the processor's pod under "
    "`mtls: STRICT` refuses it.",
    "use the Service's own cluster, outbound|PORT||HOST, or give the cluster a transport_socket",
)
FEW_STREAMS = Rule(
    "AIM146",
    "warning",
    "an added cluster with the default of 1024 requests",
    "Every open stream to the processor counts, an observer's as long as the model's answer; beyond it requests fail "
    "or pass unrouted.",
    "write circuit_breakers: {thresholds: [{max_requests: 65536, max_pending_requests: 65536}]}",
)
NOT_IMPORTED = Rule(
    "AIM147",
    "error",
    "a Sidecar that does not import the processor's host",
    "The proxies of its workloads have no cluster for the processor then.",
    "add NAMESPACE/HOST of the processor to egress.hosts",
)
ADDED_TWICE = Rule(
    "AIM148",
    "error",
    "two clusters of one name",
    "Envoy takes no two of a name: it refuses the second one or the whole update, and goes on with what it had.",
    "remove one of the two patches, or give the clusters names of their own",
)
RULES = (UNKNOWN_CLUSTER, NO_PORT, NOT_GRPC, NO_HTTP2, PLAINTEXT, FEW_STREAMS, NOT_IMPORTED, ADDED_TWICE)

_GRPC_NAMES = ("grpc", "http2")
_GRPC_PROTOCOLS = ("grpc", "http2", "kubernetes.io/h2c")
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def check(mesh: Mesh) -> Iterator[Finding]:
    """The cluster of every processor, and those that are added for them."""
    yield from _added_twice(mesh)
    for processor in mesh.processors:
        cluster = processor.cluster
        if added := mesh.added_clusters.get(cluster.text):
            yield from _added(added, mesh)
        elif cluster.text.startswith("outbound|"):
            yield from _outbound(processor, cluster, mesh)
        elif cluster:
            yield cluster.breaks(UNKNOWN_CLUSTER, f"nothing makes a cluster {cluster.text}")


def _added_twice(mesh: Mesh) -> Iterator[Finding]:
    """Clusters that two patches add to the same proxies."""
    first: dict[tuple[object, ...], Patch] = {}
    for patch in mesh.patches:
        name = patch.value.at("name")
        if patch.apply_to != "CLUSTER" or patch.operation != "ADD" or not name:
            continue
        other = first.setdefault((name.text, patch.chosen, patch.context), patch)
        if other is not patch and not other.overwrites(patch):
            where = other.value.at("name")
            yield name.breaks(ADDED_TWICE, f"{where.file}:{where.node.line} adds a cluster {name.text} already")


def _outbound(processor: Processor, cluster: Value, mesh: Mesh) -> Iterator[Finding]:
    parts = cluster.text.split("|")
    if len(parts) != 4 or not parts[1].isdecimal() or "." not in parts[3]:
        shape = "outbound|PORT|SUBSET|HOST, with the host's full name"
        yield cluster.breaks(UNKNOWN_CLUSTER, f"{cluster.text} is not of the form {shape}")
        return
    _, port, subset, host = parts
    if subset and not any(
        s.at("name").text == subset for r in mesh.destination_rules(host) for s in r.spec.at("subsets").items
    ):
        yield cluster.breaks(NO_PORT, f"no DestinationRule of {host} has a subset {subset}", "leave the subset empty")
    if service := mesh.service(host):
        yield from _port(cluster, service, port)
    # A gateway has no Sidecar.
    sidecars = mesh.of("Sidecar") if processor.patch.context != "GATEWAY" else ()
    for sidecar in sidecars:
        if sidecar.namespace == processor.patch.resource.namespace and not _imports(sidecar, host):
            yield sidecar.spec.at("egress").breaks(NOT_IMPORTED, f"{host} is not imported")


def _port(cluster: Value, service: Resource, number: str) -> Iterator[Finding]:
    ports = service.spec.at("ports").items
    port = next((p for p in ports if p.at("port").text == number), None)
    if port is None:
        there = ", ".join(p.at("port").text for p in ports) or "none"
        yield cluster.breaks(NO_PORT, f"{service.name} ({service.location}) has no port {number}; it has {there}")
        return
    if not declares_grpc(port):
        yield (port.at("appProtocol") or port.at("name") or port).breaks(NOT_GRPC)


def declares_grpc(port: Value) -> bool:
    """Whether a port of a Service is declared as one that speaks HTTP/2."""
    protocol = port.at("appProtocol").text
    if protocol:
        return protocol in _GRPC_PROTOCOLS
    return port.at("name").text.partition("-")[0] in _GRPC_NAMES


def _imports(sidecar: Resource, host: str) -> bool:
    egress = sidecar.spec.at("egress").items
    if not egress:
        return True
    namespace = host.split(".")[1]
    for wanted in (h.text for listener in egress for h in listener.at("hosts").items):
        where, _, pattern = wanted.partition("/")
        here = sidecar.namespace if where == "." else namespace if where == "*" else where
        if here == namespace and covers(pattern, host):
            return True
    return False


def _added(patch: Patch, mesh: Mesh) -> Iterator[Finding]:
    cluster = patch.value
    http = cluster.at("typed_extension_protocol_options", _OPTIONS)
    settings = (
        http.at("explicit_http_config"),
        http.at("use_downstream_protocol_config"),
        http.at("auto_config"),
        cluster,
    )
    if not any(where.at("http2_protocol_options") for where in settings):
        yield cluster.breaks(NO_HTTP2)
    if not any(t.at("max_requests") for t in cluster.at("circuit_breakers", "thresholds").items):
        yield cluster.breaks(FEW_STREAMS)
    if cluster.at("transport_socket") or any(v.at("pipe") for v in cluster.walk()):
        return
    hosts = [v.text.split(".") for v in cluster.walk() if v.path.endswith(".address") and v.text]
    namespaces = {"istio-system", *(parts[1] for parts in hosts if len(parts) > 1 and not parts[0].isdecimal())}
    for policy in mesh.of("PeerAuthentication"):
        if policy.spec.at("mtls", "mode").text == "STRICT" and policy.namespace in namespaces:
            yield cluster.breaks(PLAINTEXT, f"plaintext, and {policy.name} ({policy.location}) asks for mutual TLS")
