"""What a GPU is: from product names of GPU feature discovery to architecture, capability and memory.

Sources: labels ``nvidia.com/gpu.{product,family,memory,compute.*}`` of NVIDIA's
k8s-device-plugin (GPU feature discovery), ``amd.com/gpu.*`` of AMD's node labeller, the vendors' data sheets for
nominal memory.
"""

from __future__ import annotations

import re
from fractions import Fraction

import msgspec

_UNITS = {f"{prefix}i": 1 << 10 * n for n, prefix in enumerate("KMGTPE", 1)}
_UNITS |= {prefix: 10 ** (3 * n) for n, prefix in enumerate("kMGTPE", 1)}


class Gpu(msgspec.Struct, frozen=True):
    """One kind of GPU, or one slice of it."""

    product: str = ""
    """As feature discovery labels it, ``NVIDIA-A100-SXM4-80GB``; empty where only the architecture is."""
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
    """A product label, a short product name, a family or a capability (``8.0``; ``8.0+`` means at least)."""
    memory: int = 0
    """MiB that a GPU must have at least; 0: no matter."""


# Short name: (family, compute capability, MiB of one GPU where the product's name has no size).
_KNOWN: dict[str, tuple[str, str, int]] = {
    "v100": ("volta", "7.0", 16384),
    "t4": ("turing", "7.5", 15360),
    "a100": ("ampere", "8.0", 40960),
    "a30": ("ampere", "8.0", 24576),
    "a800": ("ampere", "8.0", 81920),
    "a10": ("ampere", "8.6", 23028),
    "a10g": ("ampere", "8.6", 23028),
    "a16": ("ampere", "8.6", 15356),
    "a40": ("ampere", "8.6", 46068),
    "a2": ("ampere", "8.6", 15356),
    "a6000": ("ampere", "8.6", 49140),
    "3090": ("ampere", "8.6", 24576),
    "l4": ("ada-lovelace", "8.9", 23034),
    "l40": ("ada-lovelace", "8.9", 46068),
    "l40s": ("ada-lovelace", "8.9", 46068),
    "l20": ("ada-lovelace", "8.9", 46068),
    "4090": ("ada-lovelace", "8.9", 24564),
    "h100": ("hopper", "9.0", 81559),
    "h800": ("hopper", "9.0", 81559),
    "h200": ("hopper", "9.0", 143771),
    "h20": ("hopper", "9.0", 97871),
    "gh200": ("hopper", "9.0", 97871),
    "b200": ("blackwell", "10.0", 183359),
    "gb200": ("blackwell", "10.0", 189471),
    "b300": ("blackwell", "10.3", 275040),
    "5090": ("blackwell", "12.0", 32607),
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
_CAPABILITY = re.compile(r"(?:sm_?)?([0-9]{1,2})\.?([0-9])(\+?)")
_SIZE = re.compile(r"(?<![0-9])([0-9]{1,4})GB(?![a-z0-9])", re.IGNORECASE)
_MIG = re.compile(r"-MIG-[0-9]g\.([0-9]{1,4})gb", re.IGNORECASE)
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)(?:([KMGTPE]i|[kMGTPE])|([eE][-+]?[0-9]{1,2}))?")


def quantity(text: str) -> int | None:
    """Bytes in a Kubernetes quantity (``80Gi``, ``16G``, ``1.5e9``, ``8192``), rounded down; None if it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, unit, exponent = match.groups()
    return int(Fraction(number + (exponent or "")) * (_UNITS[unit] if unit else 1))


def mebibytes(text: str) -> int | None:
    """MiB in a Kubernetes quantity, rounded down; None if it is none."""
    size = quantity(text)
    return None if size is None else size >> 20


def _words(text: str) -> list[str]:
    return re.split(r"[-_ ]", text.lower())


def short_name(product: str) -> str:
    """``NVIDIA-A100-SXM4-80GB`` → ``a100``; empty where the product is not known."""
    return next((word for word in _words(product) if word in _KNOWN), "")


def _capability_of(family: str) -> str:
    """The compute capability that all products of ``family`` share, if they do."""
    shared = {capability for name, capability, _ in _KNOWN.values() if name == family}
    return shared.pop() if len(shared) == 1 else ""


def describe(product: str = "", architecture: str = "", memory: int = 0) -> Gpu:
    """All that follows from what was given; what was given wins. ``memory`` in MiB."""
    lowered = architecture.lower()
    given = short_name(lowered)
    name = given or short_name(product)
    family, capability, nominal = _KNOWN.get(name, ("", "", 0))
    if lowered in FAMILIES:
        family = lowered
        capability = capability or _capability_of(family)
    elif match := _CAPABILITY.fullmatch(lowered):
        capability = f"{match.group(1)}.{match.group(2)}"
    if not memory:
        # The size in a Grace Hopper's name is the CPU's memory.
        size = _MIG.search(product) or (None if name == "gh200" else _SIZE.search(product))
        memory = int(size.group(1)) * 1024 if size else nominal
    return Gpu(product, given or lowered or name or product.lower(), family, capability, memory)


def known_architecture(text: str) -> bool:
    """Whether ``text`` can mean something as a requirement: a product, short name, family or capability."""
    return bool(text.lower() in FAMILIES or short_name(text) or _CAPABILITY.fullmatch(text.lower()))


def satisfies(gpu: Gpu, need: Requirement) -> bool:
    """Whether ``gpu`` is what ``need`` asks for. A memory that is not known satisfies no minimum."""
    return gpu.memory >= need.memory and _is(gpu, need.architecture.lower())


def shortfall(gpu: Gpu, need: Requirement) -> str:
    """Why ``gpu`` is not what ``need`` asks for, as a clause that follows the GPU's name; empty where it is."""
    if not _is(gpu, need.architecture.lower()):
        known = ", ".join(word for word in (gpu.family, gpu.capability) if word and word != gpu.architecture)
        return f"is {gpu.architecture}{f' ({known})' if known else ''}, not {need.architecture}"
    if gpu.memory < need.memory:
        has = f"has {gpu.memory} MiB" if gpu.memory else "is of a size that is not known"
        return f"{has}, and {need.memory} MiB are required"
    return ""


def _is(gpu: Gpu, wanted: str) -> bool:
    if not wanted or wanted in (gpu.product.lower(), gpu.architecture, gpu.family):
        return True
    if match := _CAPABILITY.fullmatch(wanted):
        asked = (int(match.group(1)), int(match.group(2)))
        major, dot, minor = gpu.capability.partition(".")
        has = (int(major), int(minor)) if dot else (0, 0)
        return has >= asked if match.group(3) else has == asked
    # Some words of a product stand for it: "a100" and "a100-80gb" are meant by "NVIDIA-A100-SXM4-80GB".
    return bool(gpu.product) and set(_words(wanted)) <= set(_words(gpu.product))
