"""DestinationRule: balancing, ejection and failover that do not happen."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh, fqdn

LEAST_CONN = Rule(
    "AIM301",
    "warning",
    "`LEAST_CONN` is deprecated",
    "It means LEAST_REQUEST, until it goes.",
    "write LEAST_REQUEST",
)
GATEWAY_ERRORS = Rule(
    "AIM302",
    "error",
    "`consecutiveGatewayErrors` never counts",
    "Gateway errors are 5xx errors too: with a limit that is not below `consecutive5xxErrors` the other one always "
    "comes first.",
    "make consecutiveGatewayErrors smaller than consecutive5xxErrors (5 where it isn't written; 0 switches it off)",
)
NO_FAILOVER = Rule(
    "AIM303",
    "error",
    "locality failover without `outlierDetection`",
    "Without it Envoy does not know that endpoints of a locality or tier are bad, and never leaves it.",
    "add outlierDetection beside loadBalancer",
)
HASH_AND_FAILOVER = Rule(
    "AIM304",
    "warning",
    "`consistentHash` with `failoverPriority`",
    "When endpoints change tiers the hash ring is built anew: the sessions that it is for move.",
    "choose one of them",
)
LINKERD_BUDGET = Rule(
    "AIM305",
    "error",
    "Linkerd's names in a retry budget",
    "`retryRatio` and `minRetriesPerSecond` (Linkerd's) mean nothing to Istio, which drops unknown fields.",
    "write trafficPolicy.retryBudget: {percent: 25, minRetryConcurrency: 10} (Istio 1.27)",
)
HARDWARE_SUBSETS = Rule(
    "AIM306",
    "warning",
    "GPU and CPU as subsets",
    "Subsets never fail over to each other: with no GPU left, requests to that subset get 503 while CPUs idle.",
    'one subset, with localityLbSetting: {failoverPriority: ["accelerator=nvidia-gpu"]} and outlierDetection: GPUs '
    "first, then CPUs",
)
OPAQUE = Rule(
    "AIM307",
    "error",
    "HTTP settings for opaque TLS",
    "The ServiceEntry's port is HTTPS or TLS: Envoy sees bytes. HTTP connection pools, ejection by 5xx and header "
    "hashes do nothing.",
    "in the ServiceEntry write protocol: HTTP and targetPort: 443, here trafficPolicy.tls.mode: SIMPLE",
)
NO_HTTP2 = Rule(
    "AIM308",
    "warning",
    "HTTP/2 to a server that may not speak it",
    "`h2UpgradePolicy: UPGRADE` makes Envoy speak HTTP/2 whatever the port is declared as. A sidecar of the server "
    "translates where the port is declared `http`; without one the server gets HTTP/2, and most model servers "
    "(uvicorn, so vLLM and SGLang) speak HTTP/1.1 only.",
    "remove h2UpgradePolicy, or declare the Service's port as http2 or grpc if the server speaks that",
)
REFUSED = Rule(
    "AIM309",
    "error",
    "plaintext to workloads that want mutual TLS",
    "The sidecar of the server under `mtls: STRICT` refuses every connection.",
    "remove tls.mode (Istio then chooses by itself), or write ISTIO_MUTUAL",
)
IGNORED = Rule(
    "AIM310",
    "error",
    "a second DestinationRule for a host, a part of which does not count",
    "Istio joins rules of a host: subsets of the older one by a name win, and where both have a `trafficPolicy` that "
    "of the newer one is dropped, all of it.",
    "merge them",
)
RULES = (
    *(LEAST_CONN, GATEWAY_ERRORS, NO_FAILOVER, HASH_AND_FAILOVER, LINKERD_BUDGET, HARDWARE_SUBSETS, OPAQUE),
    *(NO_HTTP2, REFUSED, IGNORED),
)

_HARDWARE = ("accelerator", "gpu", "nvidia.com/gpu", "hardware")
_HTTP2 = ("http2", "grpc", "h2c", "kubernetes.io/h2c")
_HTTP_ONLY = (
    ("connectionPool", "http"),
    ("outlierDetection", "consecutive5xxErrors"),
    ("outlierDetection", "consecutiveGatewayErrors"),
    ("loadBalancer", "consistentHash", "httpHeaderName"),
    ("loadBalancer", "consistentHash", "httpCookie"),
)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every DestinationRule: its own policy and those of its subsets and ports."""
    yield from _second_rules(mesh)
    for rule in mesh.of("DestinationRule"):
        whole = rule.spec.at("trafficPolicy")
        subsets = rule.spec.at("subsets").items
        for holder in (rule.spec, *subsets):
            policy = holder.at("trafficPolicy")
            for part in (policy, *policy.at("portLevelSettings").items):
                yield from _policy(part, whole)
                yield from _transport(part, whole, rule, mesh)
        yield from _hardware(subsets, whole)
        host = rule.spec.at("host").text
        for entry in mesh.of("ServiceEntry"):
            hosts = [h.text for h in entry.spec.at("hosts").items]
            if not any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for name in hosts):
                continue
            protocols = [p.at("protocol").text.upper() for p in entry.spec.at("ports").items]
            if protocols and all(p in ("HTTPS", "TLS") for p in protocols):
                for steps in _HTTP_ONLY:
                    if useless := whole.at(*steps):
                        message = f"the ports of {entry.name} ({entry.location}) are {protocols[0]}: this does nothing"
                        yield useless.breaks(OPAQUE, message)


def _policy(policy: Value, whole: Value) -> Iterator[Finding]:
    balancer, ejection = policy.at("loadBalancer"), policy.at("outlierDetection")
    if balancer.at("simple").text == "LEAST_CONN":
        yield balancer.at("simple").breaks(LEAST_CONN)
    gateway, errors = ejection.at("consecutiveGatewayErrors"), ejection.at("consecutive5xxErrors")
    limit = errors.number if errors else 5.0
    if gateway.number and limit and gateway.number >= limit:
        yield gateway.breaks(GATEWAY_ERRORS, f"{gateway.text} gateway errors never come before {limit:g} 5xx errors")
    locality = balancer.at("localityLbSetting")
    moves = locality.at("failover") or locality.at("failoverPriority")
    if moves and not ejection and not whole.at("outlierDetection"):
        yield moves.breaks(NO_FAILOVER)
    if balancer.at("consistentHash") and locality.at("failoverPriority"):
        yield balancer.at("consistentHash").breaks(HASH_AND_FAILOVER)
    for name, key in policy.at("retryBudget").named():
        if name in ("retryRatio", "minRetriesPerSecond", "ttl"):
            yield key.breaks(LINKERD_BUDGET)


def _transport(policy: Value, whole: Value, rule: Resource, mesh: Mesh) -> Iterator[Finding]:
    """What the server has to speak."""
    host = fqdn(rule.spec.at("host").text, rule.namespace)
    service, plain = mesh.service(host), (policy.at("tls", "mode") or whole.at("tls", "mode")).text == "DISABLE"
    ports = service.spec.at("ports").items if service else []
    declared = [(p.at("appProtocol") or p.at("name")).text.partition("-")[0].lower() for p in ports]
    upgrade = policy.at("connectionPool", "http", "h2UpgradePolicy")
    if upgrade.text == "UPGRADE" and not any(name in _HTTP2 for name in declared):
        undeclared = next((p for p, name in zip(ports, declared, strict=True) if name != "http"), None)
        if plain:
            yield upgrade.breaks(NO_HTTP2, "HTTP/2 without a sidecar in between (tls.mode: DISABLE)")
        elif undeclared:
            yield upgrade.breaks(NO_HTTP2, f"HTTP/2, and {service.location if service else ''} declares no protocol")
    if policy.at("tls", "mode").text == "DISABLE" and (strict := _strict(host, mesh)):
        message = f"plaintext, and PeerAuthentication {strict.name} ({strict.location}) asks for mutual TLS"
        yield policy.at("tls", "mode").breaks(REFUSED, message)


def _strict(host: str, mesh: Mesh) -> Resource | None:
    """The PeerAuthentication by which all workloads of a Service's namespace want mutual TLS."""
    _, _, rest = host.partition(".")
    namespace, svc, _ = rest.partition(".svc")
    if not svc:
        return None
    whole = [p for p in mesh.of("PeerAuthentication") if not p.spec.at("selector", "matchLabels").entries]
    for place in (namespace, "istio-system"):
        for found in (p for p in whole if p.namespace == place):
            return found if found.spec.at("mtls", "mode").text == "STRICT" else None
    return None


def _second_rules(mesh: Mesh) -> Iterator[Finding]:
    """What is lost where several rules are joined."""
    first: dict[tuple[object, ...], Resource] = {}
    for rule in mesh.of("DestinationRule"):
        spec = rule.spec
        key = (fqdn(spec.at("host").text, rule.namespace), rule.namespace)
        other = first.setdefault((*key, spec.at("exportTo").content, spec.at("workloadSelector").content), rule)
        if other is rule or other.name == rule.name:
            continue
        if (policy := spec.at("trafficPolicy")) and other.spec.at("trafficPolicy"):
            yield policy.breaks(IGNORED, f"{other.name} ({other.location}) has a trafficPolicy for {key[0]} too")
        names = {subset.at("name").text for subset in other.spec.at("subsets").items}
        for name in (subset.at("name") for subset in spec.at("subsets").items):
            if name.text in names:
                yield name.breaks(IGNORED, f"{other.name} ({other.location}) has a subset {name.text} too")


def _hardware(subsets: list[Value], whole: Value) -> Iterator[Finding]:
    """Subsets that differ by hardware, one of them without any."""
    if whole.at("loadBalancer", "localityLbSetting", "failoverPriority"):
        return
    for label in _HARDWARE:
        values = {s.at("labels", label).text.lower() for s in subsets} - {""}
        if len(values) > 1 and values & {"cpu", "none", "false"}:
            yield subsets[0].at("labels", label).breaks(HARDWARE_SUBSETS)
