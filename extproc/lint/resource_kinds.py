"""Kinds and their versions: what Istio reads at all."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource
from extproc.lint.mesh import Mesh
from extproc.policyfile.fields import suggestion

UNREADABLE = Rule(
    "AIM001",
    "error",
    "a file that can't be read",
    "Nothing in it was checked.",
    "write YAML: every document a Kubernetes manifest with apiVersion and kind",
)
NO_VERSION = Rule(
    "AIM002",
    "error",
    "an `apiVersion` that does not exist",
    "The API server refuses the manifest. EnvoyFilter is `networking.istio.io/v1alpha3`, and nothing else.",
    "use the kind's newest version",
)
OLD_VERSION = Rule(
    "AIM003",
    "warning",
    "an old `apiVersion`",
    "Still served, and no longer where new fields are documented; some day it goes.",
    "use the kind's newest version",
)
UNKNOWN_KIND = Rule(
    "AIM004",
    "error",
    "a kind that Istio does not have",
    "Without a CRD the API server refuses it. `istioctl validate` silently accepts what it doesn't know.",
    "use a kind of the group",
)
NOT_READ_BY_ISTIO = Rule(
    "AIM005",
    "warning",
    "a policy that nothing here puts into effect",
    "Istio reads no ModelInferencePolicy or GpuPool; the processor does, and Istio needs an EnvoyFilter that calls it, "
    "or an InferencePool whose picker it is.",
    "give the policy to `extproc serve`, and apply what `extproc render istio -f POLICY` makes of it",
)
RULES = (UNREADABLE, NO_VERSION, OLD_VERSION, UNKNOWN_KIND, NOT_READ_BY_ISTIO)

_NETWORKING = (
    *("VirtualService", "DestinationRule", "ServiceEntry", "Gateway", "Sidecar"),
    *("WorkloadEntry", "WorkloadGroup"),
)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "EnvoyFilter": ("networking.istio.io", ("v1alpha3",)),
    "ProxyConfig": ("networking.istio.io", ("v1beta1",)),
    **dict.fromkeys(_NETWORKING, ("networking.istio.io", ("v1", "v1beta1", "v1alpha3"))),
    "Telemetry": ("telemetry.istio.io", ("v1", "v1alpha1")),
    "PeerAuthentication": ("security.istio.io", ("v1", "v1beta1")),
    "RequestAuthentication": ("security.istio.io", ("v1", "v1beta1")),
    "AuthorizationPolicy": ("security.istio.io", ("v1", "v1beta1")),
    "WasmPlugin": ("extensions.istio.io", ("v1alpha1",)),
    "TrafficExtension": ("extensions.istio.io", ("v1alpha1",)),
}
"""Istio's kinds: their group and its versions, newest first."""
PROCESSOR_GROUP = "ai.istio.io"
_PROCESSOR_KINDS = ("ModelInferencePolicy", "GpuPool")


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every resource of one of Istio's groups, or of one of Istio's kinds."""
    for resource in mesh.resources:
        if resource.group == PROCESSOR_GROUP and resource.kind in _PROCESSOR_KINDS:
            if not (mesh.processors or mesh.of("InferencePool")):
                yield resource.root.at("kind").breaks(NOT_READ_BY_ISTIO)
        elif resource.group.endswith(".istio.io") or (resource.kind in KINDS and not _gateway_api(resource)):
            yield from _version(resource)


def _gateway_api(resource: Resource) -> bool:
    """Two groups have a Gateway."""
    return resource.group == "gateway.networking.k8s.io"


def _version(resource: Resource) -> Iterator[Finding]:
    if resource.kind not in KINDS:
        message = f"{resource.group} has no kind {resource.kind}"
        yield resource.root.at("kind").breaks(UNKNOWN_KIND, message, suggestion(resource.kind, KINDS))
        return
    group, versions = KINDS[resource.kind]
    newest = f"{group}/{versions[0]}"
    place, written = resource.root.at("apiVersion"), resource.api_version
    if written not in [f"{group}/{version}" for version in versions]:
        yield place.breaks(
            NO_VERSION, f"{resource.kind} has no version {written or 'without a name'}", f"write {newest}"
        )
    elif written != newest:
        yield place.breaks(OLD_VERSION, f"{written} is an old version of {resource.kind}", f"write {newest}")
