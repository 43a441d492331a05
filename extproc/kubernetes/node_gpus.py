"""The GPUs of a Node, by the labels of whoever discovers them, and by its resources. Pure.

Sources: NVIDIA's k8s-device-plugin, docs/gpu-feature-discovery ("Generated Labels", MIG strategies ``single`` and
``mixed``); AMD's k8s-device-plugin, cmd/k8s-node-labeller (``amd.com/gpu.*``, formerly ``beta.amd.com/gpu.*``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from extproc.policy.gpu import Gpu, describe

_NVIDIA, _AMD = "nvidia.com/gpu", "amd.com/gpu"
"""Resources that containers ask for, and prefixes of labels."""
_SHARED = "-SHARED"
"""Suffix of the product where several containers take turns on one GPU."""
_MIG_COUNT = re.compile(r"nvidia\.com/(mig-(?P<profile>[0-9]+g\.[0-9]+gb[a-z0-9.+-]*))\.count")
_MIG_PRODUCT = re.compile(r"-MIG-(?P<profile>[0-9]+g\.[0-9]+gb[a-z0-9.+-]*)$")
_DIGITS = re.compile(r"[0-9]{1,12}")
_VRAM = re.compile(r"([0-9]{1,6})([GM])")


class NodeGpus(msgspec.Struct, frozen=True):
    """GPUs of one kind on one node, or MIG slices of one size."""

    node: str
    gpu: Gpu
    """Nothing is known of it where only a resource tells of GPUs."""
    count: int
    mig: str = ""
    """MIG profile, ``1g.5gb``; empty: whole GPUs."""


def gpus_of_node(node: Mapping[str, Any]) -> tuple[NodeGpus, ...]:
    """What a Node has; nothing where it has no GPU, or where its MIG slices are being made."""
    metadata = node.get("metadata") or {}
    labels = metadata.get("labels") or {}
    resources = (node.get("status") or {}).get("allocatable") or {}
    found = (*_nvidia(labels, resources), *_amd(labels, resources))
    return tuple(NodeGpus(str(metadata.get("name")), gpu, count, mig) for gpu, count, mig in found if count)


def _nvidia(labels: Mapping[str, str], resources: Mapping[str, Any]) -> Iterator[tuple[Gpu, int, str]]:
    product = labels.get(f"{_NVIDIA}.product", "").removesuffix(_SHARED)
    capability = _capability(labels)
    count = _count(resources, _NVIDIA, labels, f"{_NVIDIA}.count")
    if count and not product.endswith("-MIG-INVALID"):
        slices = _MIG_PRODUCT.search(product)
        gpu = describe(product, memory=_number(labels.get(f"{_NVIDIA}.memory")))
        yield _known(gpu, labels, capability), count, slices["profile"] if slices else ""
    for label in sorted(labels):
        if found := _MIG_COUNT.fullmatch(label):
            kind = f"nvidia.com/{found[1]}"
            of_slices = labels.get(f"{kind}.product") or (f"{product}-MIG-{found['profile']}" if product else "")
            gpu = describe(of_slices, memory=_number(labels.get(f"{kind}.memory")))
            yield _known(gpu, labels, capability), _count(resources, kind, labels, label), found["profile"]


def _known(gpu: Gpu, labels: Mapping[str, str], capability: str) -> Gpu:
    """``gpu`` with what the labels say where nothing follows from its product's name."""
    family = gpu.family or labels.get(f"{_NVIDIA}.family", "").lower()
    return msgspec.structs.replace(gpu, family=family, capability=gpu.capability or capability)


def _capability(labels: Mapping[str, str]) -> str:
    major, minor = (labels.get(f"{_NVIDIA}.compute.{part}", "") for part in ("major", "minor"))
    return f"{major}.{minor}" if _DIGITS.fullmatch(major) and _DIGITS.fullmatch(minor) else ""


def _amd(labels: Mapping[str, str], resources: Mapping[str, Any]) -> Iterator[tuple[Gpu, int, str]]:
    def label(name: str) -> str:
        return str(labels.get(f"{_AMD}.{name}") or labels.get(f"beta.{_AMD}.{name}") or "")

    vram = _VRAM.fullmatch(label("vram"))
    memory = int(vram[1]) * (1024 if vram[2] == "G" else 1) if vram else 0
    yield describe(label("product-name"), memory=memory), _count(resources, _AMD, labels, ""), ""


def _count(resources: Mapping[str, Any], resource: str, labels: Mapping[str, str], label: str) -> int:
    """How many the node can give to containers, or has, where the kubelet does not say."""
    return _number(resources[resource] if resource in resources else labels.get(label))


def _number(text: object) -> int:
    """A whole number; 0 for whatever else may stand in a label."""
    return int(str(text)) if _DIGITS.fullmatch(str(text)) else 0
