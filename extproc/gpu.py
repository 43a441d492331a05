"""What a GPU is: from the product names of GPU feature discovery to architecture, capability and memory. Floor 1.

May import floor 0. Sources: labels ``nvidia.com/gpu.{product,family,memory,compute.*}`` of NVIDIA's k8s-device-plugin
(GPU feature discovery), ``amd.com/gpu.*`` of AMD's node labeller, the vendors' data sheets for nominal memory.
"""

from __future__ import annotations

import re

import msgspec

_MIB = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024, "Ti": 1024**2, "k": 1e3 / 2**20, "M": 1e6 / 2**20, "G": 1e9 / 2**20}
_MIB["T"] = 1e12 / 2**20


class Gpu(msgspec.Struct, frozen=True):
    """One kind of GPU, or one slice of it."""

    product: str = ""
    """As feature discovery labels it, ``NVIDIA-A100-SXM4-80GB``; empty where only the architecture was given."""
    architecture: str = ""
    """Short product name in lower case, ``a100``: what ``x-gpu-architecture`` carries."""
    family: str = ""
    """``ampere``, ``hopper``."""
    capability: str = ""
    """CUDA compute capability, ``8.0``; empty for other vendors."""
    memory: int = 0
    """MiB that one GPU (or slice) has; 0: unknown."""


class Requirement(msgspec.Struct, frozen=True):
    """``gpuRequirements`` of a policy."""

    architecture: str = ""
    """A product label, a short product name, a family or a compute capability (``8.0``; ``8.0+`` means at least)."""
    memory: int = 0
    """MiB that a GPU must have at least; 0: no matter."""


# Short name: (family, compute capability, MiB that feature discovery reports where the product's name has no size).
_KNOWN: dict[str, tuple[str, str, int]] = {
    "v100": ("volta", "7.0", 16384),
    "t4": ("turing", "7.5", 15360),
    "a100": ("ampere", "8.0", 40960),
    "a30": ("ampere", "8.0", 24576),
    "a10": ("ampere", "8.6", 23028),
    "a10g": ("ampere", "8.6", 23028),
    "a16": ("ampere", "8.6", 15356),
    "a40": ("ampere", "8.6", 46068),
    "a2": ("ampere", "8.6", 15356),
    "l4": ("ada-lovelace", "8.9", 23034),
    "l40": ("ada-lovelace", "8.9", 46068),
    "l40s": ("ada-lovelace", "8.9", 46068),
    "h100": ("hopper", "9.0", 81559),
    "h200": ("hopper", "9.0", 143771),
    "h20": ("hopper", "9.0", 97871),
    "gh200": ("hopper", "9.0", 97871),
    "b200": ("blackwell", "10.0", 183359),
    "gb200": ("blackwell", "10.0", 189471),
    "b300": ("blackwell", "10.3", 275040),
    "mi210": ("cdna2", "", 65536),
    "mi250": ("cdna2", "", 65536),
    "mi250x": ("cdna2", "", 65536),
    "mi300a": ("cdna3", "", 131072),
    "mi300x": ("cdna3", "", 196608),
    "mi325x": ("cdna3", "", 262144),
    "mi355x": ("cdna4", "", 294912),
    "gaudi2": ("gaudi", "", 98304),
    "gaudi3": ("gaudi", "", 131072),
}
FAMILIES = frozenset(family for family, _, _ in _KNOWN.values())
_CAPABILITY = re.compile(r"(?:sm_?)?(\d{1,2})\.?(\d)(\+?)")
_SIZE = re.compile(r"(\d+)GB(?![a-z])", re.IGNORECASE)
_MIG = re.compile(r"-MIG-\d+g\.(\d+)gb", re.IGNORECASE)


def mebibytes(quantity: str) -> int | None:
    """MiB in a Kubernetes quantity (``80Gi``, ``8192Mi``, ``16G``, plain bytes), rounded down; None if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]i|[kMGT])?", quantity)
    if match is None:
        return None
    unit = match.group(2)
    return int(float(match.group(1)) * (_MIB[unit] if unit else 1 / 2**20))


def short_name(product: str) -> str:
    """``NVIDIA-A100-SXM4-80GB`` → ``a100``; empty where the product is not known."""
    for token in re.split(r"[-_ ]", product.lower()):
        if token in _KNOWN:
            return token
    return ""


def describe(product: str = "", architecture: str = "", memory: int = 0) -> Gpu:
    """All that follows from what was given; what was given wins. ``memory`` in MiB."""
    name = short_name(architecture) or short_name(product)
    family, capability, nominal = _KNOWN.get(name, ("", "", 0))
    if not memory:
        size = _MIG.search(product) or _SIZE.search(product)
        memory = int(size.group(1)) * 1024 if size else nominal
    lowered = architecture.lower()
    if lowered in FAMILIES:
        family = lowered
    return Gpu(product, lowered or name or product.lower(), family, capability, memory)


def known_architecture(text: str) -> bool:
    """Whether ``text`` can mean something as a requirement: a product, short name, family or compute capability."""
    return bool(text.lower() in FAMILIES or short_name(text) or _CAPABILITY.fullmatch(text.lower()))


def satisfies(gpu: Gpu, need: Requirement) -> bool:
    """Whether ``gpu`` is what ``need`` asks for. A memory that is not known satisfies no minimum."""
    if need.memory and gpu.memory < need.memory:
        return False
    wanted = need.architecture.lower()
    if not wanted or wanted in (gpu.product.lower(), gpu.architecture, gpu.family):
        return True
    if match := _CAPABILITY.fullmatch(wanted):
        asked = (int(match.group(1)), int(match.group(2)))
        major, dot, minor = gpu.capability.partition(".")
        has = (int(major), int(minor)) if dot else (0, 0)
        return has >= asked if match.group(3) else has == asked
    # A short name also stands for the product that carries it: "a100" is meant by "NVIDIA-A100-SXM4-80GB".
    return bool(gpu.product) and wanted == short_name(gpu.product)
