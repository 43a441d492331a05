"""GPUs: architecture, compute capability and memory by product name, and whether a GPU meets a requirement.

Sources: node labels ``nvidia.com/gpu.{product,family,memory,compute.*}`` of NVIDIA's k8s-device-plugin (GPU feature
discovery) and ``amd.com/gpu.*`` of AMD's node labeller; nominal memory from the vendors' data sheets; NVIDIA's vGPU
documentation, "Virtual GPU Types". What does not follow from a product's name is unknown, and meets no requirement.
"""

from __future__ import annotations

import re

import msgspec


class Gpu(msgspec.Struct, frozen=True):
    """A kind of GPU, or of a slice of one (MIG, vGPU). Empty texts: unknown."""

    product: str = ""
    """As feature discovery labels it: ``NVIDIA-A100-SXM4-80GB``."""
    architecture: str = ""
    """Short product name in lower case, ``a100``: the value of ``x-gpu-architecture``."""
    family: str = ""
    """``ampere``, ``hopper``."""
    capability: str = ""
    """CUDA compute capability, ``8.0``; empty for other vendors."""
    memory: int = 0
    """MiB of one GPU or slice; 0: unknown."""


class Requirement(msgspec.Struct, frozen=True):
    """``gpuRequirements`` of a policy."""

    architecture: str = ""
    """A product label, short product name, family or compute capability (``8.0``; ``8.0+``: at least). Empty: any."""
    memory: int = 0
    """Least MiB of one GPU; 0: any."""


_PRODUCTS: dict[str, tuple[str, str, int]] = {
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
"""By short name: family, compute capability, and MiB where the product's name has no size (0: unknown)."""
FAMILIES = frozenset(family for family, _, _ in _PRODUCTS.values())
_FAMILY_WORDS = {family: family for family in FAMILIES} | {"ada": "ada-lovelace"}
_MULTIWORD_NAMES = tuple(name for name in _PRODUCTS if "-" in name)
_VARIANT_MEMORY = {("h100", "nvl"): 95830}
"""MiB of variants of a product, by its short name and the word that names the variant."""
_CAPABILITIES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "volta": ((7, 0), (7, 5)),
    "turing": ((7, 5), (8, 0)),
    "ampere": ((8, 0), (8, 9)),
    "ada-lovelace": ((8, 9), (9, 0)),
    "hopper": ((9, 0), (10, 0)),
    "blackwell": ((10, 0), (13, 0)),
}
"""By family: its lowest compute capability, and the first beyond it (as GPU feature discovery has families)."""
_CAPABILITY = re.compile(r"(?:sm_?)?([0-9]{1,2})\.?([0-9])(\+?)")
_SIZE = re.compile(r"(?<![0-9])([0-9]{1,4})GB(?![a-z0-9])", re.IGNORECASE)
_MIG = re.compile(r"-MIG-[0-9]g\.([0-9]{1,4})gb", re.IGNORECASE)
_VGPU = re.compile(
    r"(?:^|-)([a-z]{1,4}[0-9]{1,4}[a-z]{0,2})-(?:[0-9]-)?([0-9]{1,3})[abcq](?:me)?(?:-shared)?", re.IGNORECASE
)
"""A virtual GPU: board (``A100``, ``A100D``, ``H100XM``), number of MIG slices, GiB of memory, series."""
_BOARD = re.compile(r"([a-z]+[0-9]+s?)(?:d|x|dx|l|xm|xl)?")
"""A board's short name, and suffix letters for its memory and socket."""


def _words(text: str) -> list[str]:
    return re.split(r"[-_ ]", text.lower())


def short_name(product: str) -> str:
    """``NVIDIA-A100-SXM4-80GB`` → ``a100``; empty for an unknown product."""
    words = _words(product)
    hyphenated = f"-{'-'.join(words)}-"
    if long := next((name for name in _MULTIWORD_NAMES if f"-{name}-" in hyphenated), ""):
        return long
    if vgpu := _VGPU.search(product):
        board = _BOARD.fullmatch(vgpu[1].lower())
        words.append(board[1] if board else "")
    return next((word for word in words if word in _PRODUCTS), "")


def _capability_of(family: str) -> str:
    """The compute capability of all products of ``family``; empty where they differ."""
    shared = {capability for name, capability, _ in _PRODUCTS.values() if name == family}
    return shared.pop() if len(shared) == 1 else ""


def _family_in(product: str) -> str:
    """The family that a product's name contains: ``NVIDIA-RTX-PRO-4500-Blackwell`` → ``blackwell``; else empty."""
    return next((_FAMILY_WORDS[word] for word in _words(product) if word in _FAMILY_WORDS), "")


def describe(product: str = "", architecture: str = "", memory: int = 0) -> Gpu:
    """The GPU with everything that follows from what is given; what is given wins. ``memory`` in MiB."""
    wanted = architecture.lower()
    given = short_name(wanted)
    name = given or short_name(product)
    family, capability, nominal = _PRODUCTS.get(name, ("", "", 0))
    if wanted in FAMILIES:
        family = wanted
        capability = capability or _capability_of(family)
    elif not name and not wanted and (family := _family_in(product)):
        capability = _capability_of(family)
    elif match := _CAPABILITY.fullmatch(wanted):
        capability = f"{match.group(1)}.{match.group(2)}"
    if not memory:
        memory = _memory_of(product, name) or nominal
    return Gpu(product, given or wanted or name or product.lower(), family, capability, memory)


def _memory_of(product: str, name: str) -> int:
    """MiB by the words of a product's name; 0 where none gives it."""
    if mig_slice := _MIG.search(product):
        return int(mig_slice[1]) * 1024
    if vgpu := _VGPU.search(product):
        return int(vgpu[2]) * 1024
    if variant := next((_VARIANT_MEMORY[name, word] for word in _words(product) if (name, word) in _VARIANT_MEMORY), 0):
        return variant
    # The size in a Grace Hopper product name is that of the CPU memory.
    size = None if name == "gh200" else _SIZE.search(product)
    return int(size[1]) * 1024 if size else 0


def known_architecture(text: str) -> bool:
    """Whether ``text`` is a known product, short name or family, or a compute capability."""
    return bool(text.lower() in FAMILIES or short_name(text) or _CAPABILITY.fullmatch(text.lower()))


def satisfies(gpu: Gpu, requirement: Requirement) -> bool:
    """Whether ``gpu`` is known to meet ``requirement``. Unknown memory meets no minimum."""
    return gpu.memory >= requirement.memory and _meets_architecture(gpu, requirement.architecture.lower()) is True


def shortfall(gpu: Gpu, requirement: Requirement) -> str:
    """Why ``gpu`` does not meet ``requirement``, as a clause that follows the GPU's name; empty where it does."""
    known = ", ".join(word for word in (gpu.family, gpu.capability) if word and word != gpu.architecture)
    actual = f"is {gpu.architecture}{f' ({known})' if known else ''}"
    match _meets_architecture(gpu, requirement.architecture.lower()):
        case False:
            return f"{actual}, not {requirement.architecture}"
        case None:
            return f"{actual}, which is not known to be {requirement.architecture}: say its architecture more exactly"
    if gpu.memory < requirement.memory:
        has = f"has {gpu.memory} MiB" if gpu.memory else "is of a size that is not known"
        return f"{has}, and {requirement.memory} MiB are required"
    return ""


def _meets_architecture(gpu: Gpu, wanted: str) -> bool | None:
    """None: unknown."""
    if not wanted or wanted in (gpu.product.lower(), gpu.architecture, gpu.family):
        return True
    if match := _CAPABILITY.fullmatch(wanted):
        return _has_capability(gpu, (int(match[1]), int(match[2])), or_more=bool(match[3]))
    # Some words of a product's name suffice: "a100" and "a100-80gb" mean "NVIDIA-A100-SXM4-80GB".
    if gpu.product and set(_words(wanted)) <= set(_words(gpu.product)):
        return True
    return None if wanted in FAMILIES and not (gpu.family or gpu.capability) else False


def _has_capability(gpu: Gpu, wanted: tuple[int, int], *, or_more: bool) -> bool | None:
    if gpu.capability:
        major, _, minor = gpu.capability.partition(".")
        has = (int(major), int(minor))
        return has >= wanted if or_more else has == wanted
    if gpu.family not in _CAPABILITIES:
        return False if gpu.family else None  # other vendors' GPUs have none
    lowest, beyond = _CAPABILITIES[gpu.family]
    if wanted >= beyond:
        return False
    if wanted <= lowest and or_more:
        return True
    return None if or_more or wanted >= lowest else False
