"""ServiceEntry: endpoints whose labels and places mean nothing."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh
from extproc.render.envoy.envoy_options import is_own_machine

INERT_LABELS = Rule(
    "AIM501",
    "warning",
    "endpoint labels that nothing reads",
    "A label chooses endpoints only through a subset or a `failoverPriority` of a DestinationRule for the host: by "
    "itself `gpu: available` routes nothing.",
    "declare a subset with the label, or failoverPriority, or remove the label",
)
NO_LOCALITY = Rule(
    "AIM502",
    "warning",
    "endpoints in several places, and no `locality`",
    "Istio then takes all of them for equally near: no failover by region, and half of the traffic crosses.",
    "give each endpoint locality: REGION/ZONE, and the DestinationRule outlierDetection",
)
NO_TLS_MODE = Rule(
    "AIM503",
    "warning",
    "endpoints inside the mesh without mutual TLS",
    "For endpoints that are written by hand Istio does not know that a sidecar is there: it sends plaintext, "
    "which one under `mtls: STRICT` refuses.",
    "add the label security.istio.io/tlsMode: istio, and network where an east-west gateway is between",
)
PLAIN_443 = Rule(
    "AIM504",
    "error",
    "plaintext to port 443",
    "`protocol: HTTP` lets Envoy read the requests; it does not encrypt them again unless a DestinationRule says so.",
    "add a DestinationRule for the host with trafficPolicy.tls.mode: SIMPLE",
)
OWN_MACHINE = Rule(
    "AIM505",
    "error",
    "an endpoint at loopback",
    "Each proxy dials itself: the requests reach whatever listens in the client's own pod, or nothing.",
    "give an address that other pods reach",
)
RULES = (INERT_LABELS, NO_LOCALITY, NO_TLS_MODE, PLAIN_443, OWN_MACHINE)

_TLS_MODE = "security.istio.io/tlsMode"
_READ = (_TLS_MODE, "app", "version", "istio-locality")
_READ_PREFIXES = ("topology.", "service.istio.io/", "app.kubernetes.io/")
_PLACE = ("cluster", "region", "zone", "istio-locality")
_PLACE_PREFIX = "topology."
"""Labels by which people say where an endpoint is, and how those of Kubernetes and Istio for it begin."""


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every ServiceEntry."""
    for entry in mesh.of("ServiceEntry"):
        endpoints = entry.spec.at("endpoints").items
        selecting = _selecting(entry, mesh)
        for endpoint in endpoints:
            inert = [
                key
                for name, key in endpoint.at("labels").named()
                if name not in (*_READ, *selecting) and not name.startswith(_READ_PREFIXES)
            ]
            if inert:
                names = ", ".join(key.text for key in inert)
                yield inert[0].breaks(INERT_LABELS, f"nothing reads the label{'s' * (len(inert) > 1)} {names}")
            address = endpoint.at("address")
            if is_own_machine(address.text):
                yield address.breaks(OWN_MACHINE, f"{address.text} is each proxy's own pod")
        apart = len(set(map(_place, endpoints))) > 1 and not any(e.at("locality") for e in endpoints)
        if apart and _goes_by_locality(entry, mesh):
            yield entry.spec.at("endpoints").breaks(NO_LOCALITY)
        if entry.spec.at("location").text == "MESH_INTERNAL":
            bare = [e for e in endpoints if e.at("labels", _TLS_MODE).text != "istio"]
            if bare:
                yield bare[0].breaks(NO_TLS_MODE)
        yield from _ports(entry, mesh)


def _selecting(entry: Resource, mesh: Mesh) -> set[str]:
    """Labels by which a DestinationRule for one of its hosts chooses endpoints."""
    found: set[str] = set()
    for rule in (r for host in entry.spec.at("hosts").items for r in mesh.destination_rules(host.text)):
        for subset in rule.spec.at("subsets").items:
            found |= subset.at("labels").entries.keys()
        for value in rule.spec.walk():
            found |= {p.text.partition("=")[0] for p in value.at("failoverPriority").items}
    return found


def _place(endpoint: Value) -> frozenset[tuple[str, str]]:
    """What is told of where the endpoint is, but for its locality: network and labels."""
    labels = [
        (name, value.text)
        for name, value in endpoint.at("labels").entries.items()
        if name in _PLACE or name.startswith(_PLACE_PREFIX)
    ]
    return frozenset([*labels, ("network", endpoint.at("network").text)])


def _goes_by_locality(entry: Resource, mesh: Mesh) -> bool:
    """Whether no DestinationRule for its hosts turns that off, as it is for servers that are picked."""
    rules = (rule for host in entry.spec.at("hosts").items for rule in mesh.destination_rules(host.text))
    settings = (rule.spec.at("trafficPolicy", "loadBalancer", "localityLbSetting") for rule in rules)
    return not any(setting.at("enabled").text.lower() == "false" for setting in settings)


def _ports(entry: Resource, mesh: Mesh) -> Iterator[Finding]:
    """Ports 443 of the entry, and of its endpoints, that Envoy speaks plaintext to."""
    plain = {
        port.at("name").text: port.at("targetPort") or port.at("number")
        for port in entry.spec.at("ports").items
        if port.at("protocol").text.upper() in ("HTTP", "HTTP2", "GRPC")
    }
    for host in entry.spec.at("hosts").items:
        rules = list(mesh.destination_rules(host.text))
        encrypted = any(map(_encrypts, (value for rule in rules for value in rule.spec.walk())))
        for target in plain.values():
            if target.text == "443" and not encrypted:
                yield target.breaks(PLAIN_443, f"plaintext to {host.text}:443")
        for endpoint in entry.spec.at("endpoints").items:
            targets = [target for name, target in endpoint.at("ports").entries.items() if name in plain]
            for target in targets:
                if target.text == "443" and not any(_reaches_by_tls(rule, endpoint) for rule in rules):
                    yield target.breaks(PLAIN_443, f"plaintext to {endpoint.at('address').text}:443")


def _reaches_by_tls(rule: Resource, endpoint: Value) -> bool:
    """Whether the rule encrypts for all endpoints of the host, or in a subset that has this one."""
    labels = {name: value.text for name, value in endpoint.at("labels").entries.items()}
    policies = [rule.spec.at("trafficPolicy")]
    for subset in rule.spec.at("subsets").items:
        wanted = {name: value.text for name, value in subset.at("labels").entries.items()}
        if wanted.items() <= labels.items():
            policies.append(subset.at("trafficPolicy"))
    return any(_encrypts(value) for policy in policies for value in policy.walk())


def _encrypts(traffic: Value) -> bool:
    return traffic.at("tls", "mode").text in ("SIMPLE", "MUTUAL", "ISTIO_MUTUAL")
