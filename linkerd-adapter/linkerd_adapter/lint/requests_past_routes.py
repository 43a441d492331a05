"""Lint rules: requests that pass routes by: skipped ports, ingress mode, gateways that dial pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from linkerd_adapter.lint import workloads
from linkerd_adapter.lint.linkerd_annotations import names_port
from linkerd_adapter.lint.objects import Given

SKIPPED = Rule(
    "LNK509",
    "warning",
    "a workload skips a port that routes are on",
    "Its requests to that port go past Linkerd's proxy: no routes.",
    "take the port out of `config.linkerd.io/skip-outbound-ports`",
)
INGRESS = Rule(
    "LNK510",
    "warning",
    "a workload runs in Linkerd's ingress mode",
    "The proxy sends each request wherever its header `l5d-dst-override` says, and nothing here sets or removes that "
    "header: a client's own would choose any Service.",
    "use `linkerd.io/inject: enabled` and dial the Services' own addresses; else remove `l5d-dst-override` at the door",
)
PODS = Rule(
    "LNK512",
    "warning",
    "an Envoy Gateway dials pods, where routes are on Services",
    "Linkerd finds a route by the ClusterIP that a client dials; by default this gateway's Envoy dials the pods' own "
    "addresses, and its requests pass every route by.",
    "write `routingType: Service`",
)
RULES = (SKIPPED, INGRESS, PODS)

OVERRIDE = "l5d-dst-override"


def check(given: Given) -> Iterator[Finding]:
    """Every workload, what a Namespace asks for all of its own, and every Envoy Gateway."""
    ingresses = (text for i in given.of("Ingress", "networking.k8s.io") for text in workloads.texts(i.root))
    overridden = any(OVERRIDE in text for text in ingresses)
    for workload in workloads.workloads(given):
        template = workload.spec.at("template", "metadata", "annotations")
        annotations = workload.annotations | template.entries
        if not overridden and OVERRIDE not in workloads.all_texts(workload, given):
            yield from _ingress(annotations)
        yield from _skipped(annotations, given)
    for namespace in given.namespaces.values():
        if not overridden:
            yield from _ingress(namespace.annotations)
        yield from _skipped(namespace.annotations, given)
    for proxy in given.of("EnvoyProxy", "gateway.envoyproxy.io") if given.routes else ():
        if proxy.spec.at("routingType").text != "Service":
            yield (proxy.spec.at("routingType") or proxy.spec).breaks(PODS)


def _ingress(annotations: Mapping[str, Value]) -> Iterator[Finding]:
    inject = annotations.get("linkerd.io/inject")
    if inject and inject.text == "ingress":
        yield inject.breaks(INGRESS)


def _skipped(annotations: Mapping[str, Value], given: Given) -> Iterator[Finding]:
    skipped = annotations.get("config.linkerd.io/skip-outbound-ports")
    for (_, name), port in given.targets if skipped else ():
        if skipped and port is not None and names_port(skipped.text, port):
            yield skipped.breaks(SKIPPED, f"port {port} is skipped, and routes are on it (Service {name})")
