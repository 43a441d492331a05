"""Workloads in manifests: the labels of their pods, and the texts in which addresses and headers are named."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.manifest import Resource, Value
from linkerd_adapter.lint.objects import Given

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod")


def workloads(given: Given) -> list[Resource]:
    """All of them, by their kinds."""
    return [workload for kind in KINDS for workload in given.of(kind, "", "apps", "batch")]


def labels(workload: Resource) -> dict[str, str]:
    """Those of its pods."""
    pod = workload.spec.at("template") or workload.root
    found = pod.at("metadata", "labels")
    return {key: place.text for key, place in found.entries.items()}


def selected(service: Resource, labels: list[tuple[Resource, dict[str, str]]]) -> Iterator[Resource]:
    """The workloads that a Service selects. ``labels``: those of the pods of each."""
    selector = service.spec.at("selector")
    wanted = {key: place.text for key, place in selector.entries.items()}
    for workload, own in labels if wanted else ():
        if workload.namespace == service.namespace and wanted.items() <= own.items():
            yield workload


def all_texts(workload: Resource, given: Given) -> str:
    """All texts of a workload, and of the ConfigMaps of its namespace that it names."""
    own = set(texts(workload.spec))
    maps = (
        given.config_maps[workload.namespace, name] for name in own if (workload.namespace, name) in given.config_maps
    )
    return "\n".join([*own, *(text for m in maps for text in texts(m.root))])


def texts(value: Value) -> Iterator[str]:
    """Every scalar below a value."""
    return (inner.text for inner in value.walk() if inner.is_scalar)
