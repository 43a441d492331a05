"""What a GPU is: from product names of GPU feature discovery to architecture, capability and memory.

Sources: labels ``nvidia.com/gpu.{product,family,memory,compute.*}`` of NVIDIA's
k8s-device-plugin (GPU feature discovery), ``amd.com/gpu.*`` of AMD's node labeller, the vendors' data sheets for
nominal memory, NVIDIA's vGPU documentation, "Virtual GPU Types". What does not follow from a name is not known, and
meets no requirement.
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


# Short name: (family, compute capability, MiB of one GPU where the product's name has no size; 0: not known).
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
    "gb300": ("blackwell", "10.3", 0),
    "gb10": ("blackwell", "12.1", 0),
    "rtx-pro-6000": ("blackwell", "12.0", 97887),
    "rtx-6000-ada": ("ada-lovelace", "8.9", 49140),
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
_FAMILY_WORDS = {family: family for family in FAMILIES} | {"ada": "ada-lovelace"}
_LONG = tuple(name for name in _KNOWN if "-" in name)
_VARIANTS = {("h100", "nvl"): 95830}
"""MiB of products that another word of their name tells from those of the same short name."""
_CAPABILITIES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "volta": ((7, 0), (7, 5)),
    "turing": ((7, 5), (8, 0)),
    "ampere": ((8, 0), (8, 9)),
    "ada-lovelace": ((8, 9), (9, 0)),
    "hopper": ((9, 0), (10, 0)),
    "blackwell": ((10, 0), (13, 0)),
}
"""The lowest compute capability of a family, and the first beyond it, as GPU feature discovery tells families."""
_CAPABILITY = re.compile(r"(?:sm_?)?([0-9]{1,2})\.?([0-9])(\+?)")
_SIZE = re.compile(r"(?<![0-9])([0-9]{1,4})GB(?![a-z0-9])", re.IGNORECASE)
_MIG = re.compile(r"-MIG-[0-9]g\.([0-9]{1,4})gb", re.IGNORECASE)
_VGPU = re.compile(
    r"(?:^|-)([a-z]{1,4}[0-9]{1,4}[a-z]{0,2})-(?:[0-9]-)?([0-9]{1,3})[abcq](?:me)?(?:-shared)?", re.IGNORECASE
)
"""A virtual GPU: its board (``A100``, ``A100D``, ``H100XM``), slices of a MIG, GiB of memory, its series."""
_BOARD = re.compile(r"([a-z]+[0-9]+s?)(?:d|x|dx|l|xm|xl)?")
"""The letters behind a board's name tell its memory and its socket."""
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
    words = _words(product)
    whole = f"-{'-'.join(words)}-"
    if long := next((name for name in _LONG if f"-{name}-" in whole), ""):
        return long
    if virtual := _VGPU.search(product):
        board = _BOARD.fullmatch(virtual[1].lower())
        words.append(board[1] if board else "")
    return next((word for word in words if word in _KNOWN), "")


def _capability_of(family: str) -> str:
    """The compute capability that all products of ``family`` share, if they do."""
    shared = {capability for name, capability, _ in _KNOWN.values() if name == family}
    return shared.pop() if len(shared) == 1 else ""


def _family_in(product: str) -> str:
    """``NVIDIA-RTX-PRO-4500-Blackwell`` → ``blackwell``: the family that a product's name says by itself."""
    return next((_FAMILY_WORDS[word] for word in _words(product) if word in _FAMILY_WORDS), "")


def describe(product: str = "", architecture: str = "", memory: int = 0) -> Gpu:
    """All that follows from what was given; what was given wins. ``memory`` in MiB."""
    lowered = architecture.lower()
    given = short_name(lowered)
    name = given or short_name(product)
    family, capability, nominal = _KNOWN.get(name, ("", "", 0))
    if lowered in FAMILIES:
        family = lowered
        capability = capability or _capability_of(family)
    elif not name and not lowered and (family := _family_in(product)):
        capability = _capability_of(family)
    elif match := _CAPABILITY.fullmatch(lowered):
        capability = f"{match.group(1)}.{match.group(2)}"
    if not memory:
        memory = _memory_of(product, name) or nominal
    return Gpu(product, given or lowered or name or product.lower(), family, capability, memory)


def _memory_of(product: str, name: str) -> int:
    """MiB, as the words of a product's name tell it; 0 where they do not."""
    if slice_ := _MIG.search(product):
        return int(slice_[1]) * 1024
    if virtual := _VGPU.search(product):
        return int(virtual[2]) * 1024
    if variant := next((_VARIANTS[name, word] for word in _words(product) if (name, word) in _VARIANTS), 0):
        return variant
    # The size in a Grace Hopper's name is the CPU's memory.
    size = None if name == "gh200" else _SIZE.search(product)
    return int(size[1]) * 1024 if size else 0


def known_architecture(text: str) -> bool:
    """Whether ``text`` can mean something as a requirement: a product, short name, family or capability."""
    return bool(text.lower() in FAMILIES or short_name(text) or _CAPABILITY.fullmatch(text.lower()))


def satisfies(gpu: Gpu, need: Requirement) -> bool:
    """Whether ``gpu`` is known to be what ``need`` asks for. A memory that is not known satisfies no minimum."""
    return gpu.memory >= need.memory and _is(gpu, need.architecture.lower()) is True


def shortfall(gpu: Gpu, need: Requirement) -> str:
    """Why ``gpu`` is not what ``need`` asks for, as a clause that follows the GPU's name; empty where it is."""
    known = ", ".join(word for word in (gpu.family, gpu.capability) if word and word != gpu.architecture)
    what = f"is {gpu.architecture}{f' ({known})' if known else ''}"
    match _is(gpu, need.architecture.lower()):
        case False:
            return f"{what}, not {need.architecture}"
        case None:
            return f"{what}, which is not known to be {need.architecture}: say its architecture more exactly"
    if gpu.memory < need.memory:
        has = f"has {gpu.memory} MiB" if gpu.memory else "is of a size that is not known"
        return f"{has}, and {need.memory} MiB are required"
    return ""


def _is(gpu: Gpu, wanted: str) -> bool | None:
    """None: it is not known."""
    if not wanted or wanted in (gpu.product.lower(), gpu.architecture, gpu.family):
        return True
    if match := _CAPABILITY.fullmatch(wanted):
        return _has_capability(gpu, (int(match[1]), int(match[2])), or_more=bool(match[3]))
    # Some words of a product stand for it: "a100" and "a100-80gb" are meant by "NVIDIA-A100-SXM4-80GB".
    if gpu.product and set(_words(wanted)) <= set(_words(gpu.product)):
        return True
    return None if wanted in FAMILIES and not (gpu.family or gpu.capability) else False


def _has_capability(gpu: Gpu, asked: tuple[int, int], *, or_more: bool) -> bool | None:
    if gpu.capability:
        major, _, minor = gpu.capability.partition(".")
        has = (int(major), int(minor))
        return has >= asked if or_more else has == asked
    if gpu.family not in _CAPABILITIES:
        return False if gpu.family else None  # other vendors have none
    lowest, beyond = _CAPABILITIES[gpu.family]
    if asked >= beyond:
        return False
    if asked <= lowest and or_more:
        return True
    return None if or_more or asked >= lowest else False
