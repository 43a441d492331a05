"""EnvoyFilter and DestinationRule: two ways of balancing that Envoy does not take together.

`extproc render istio` puts a `load_balancing_policy` into the clusters of policies with `picking`.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_patches import Patch
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh, fqdn

BOTH = Rule(
    "AIM311",
    "error",
    "locality load balancing of a cluster with a `load_balancing_policy`",
    "istiod then gives the cluster weights of localities, and Envoy refuses a cluster that has both: it goes on with "
    "the old one or with none.",
    "write localityLbSetting: {enabled: false}, or leave the load_balancing_policy out",
)
RULES = (BOTH,)


def check(mesh: Mesh) -> Iterator[Finding]:
    """The DestinationRules of every cluster that gets such a policy."""
    for patch in mesh.patches:
        if patch.apply_to != "CLUSTER" or patch.operation != "MERGE" or not patch.value.at("load_balancing_policy"):
            continue
        host, subset = _cluster(patch)
        for rule in mesh.destination_rules(fqdn(host, patch.resource.namespace)) if host else ():
            whole = rule.spec.at("trafficPolicy")
            for own in rule.spec.at("subsets").items:
                if subset in (own.at("name").text, None):
                    yield from _weighed(own.at("trafficPolicy"), whole)
            if not subset:
                yield from _weighed(whole, whole)


def _cluster(patch: Patch) -> tuple[str, str | None]:
    """Host and subset of the clusters that it changes; None: any subset, or none."""
    match = patch.root.at("match", "cluster")
    if name := match.at("name").text:
        parts = name.split("|")
        return (parts[3], parts[2]) if len(parts) == 4 else ("", None)
    return match.at("service").text, match.at("subset").text or None


def _weighed(policy: Value, whole: Value) -> Iterator[Finding]:
    locality = (policy.at("loadBalancer") or whole.at("loadBalancer")).at("localityLbSetting")
    if locality.at("enabled").text.lower() == "false":
        return
    moves = locality.at("failover") or locality.at("failoverPriority")
    ejects = policy.at("outlierDetection") or whole.at("outlierDetection")
    if found := locality.at("distribute") or (moves if ejects else None):
        yield found.breaks(BOTH)
