"""GPUs: what follows from a product's name, which requirements a GPU meets, and why it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.gpu import (
    FAMILIES,
    Gpu,
    Requirement,
    describe,
    known_architecture,
    satisfies,
    short_name,
    shortfall,
)

EXACTLY = "say its architecture more exactly"


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    gpu = describe(text, text)
    assert known_architecture(text) in (True, False)
    assert satisfies(gpu, Requirement(text))
    assert isinstance(shortfall(gpu, Requirement("a100", 1)), str)


@pytest.mark.parametrize(
    ("product", "gpu"),
    [
        # Labels as NVIDIA's feature discovery and AMD's node labeller give them.
        ("NVIDIA-A100-SXM4-80GB", ("a100", "ampere", "8.0", 81920)),
        ("NVIDIA-A100-SXM4-40GB", ("a100", "ampere", "8.0", 40960)),
        ("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", ("a100", "ampere", "8.0", 10240)),
        ("NVIDIA-A100-80GB-PCIe-SHARED", ("a100", "ampere", "8.0", 81920)),
        ("NVIDIA-H100-80GB-HBM3", ("h100", "hopper", "9.0", 81920)),
        ("NVIDIA-H200", ("h200", "hopper", "9.0", 143771)),
        ("NVIDIA-GH200-480GB", ("gh200", "hopper", "9.0", 97871)),
        ("NVIDIA-L4", ("l4", "ada-lovelace", "8.9", 23034)),
        ("NVIDIA-A10G", ("a10g", "ampere", "8.6", 23028)),
        ("Tesla-T4", ("t4", "turing", "7.5", 15360)),
        ("Tesla-V100-SXM2-32GB", ("v100", "volta", "7.0", 32768)),
        ("NVIDIA-GeForce-RTX-4090", ("4090", "ada-lovelace", "8.9", 24564)),
        ("AMD_Instinct_MI300X_OAM", ("mi300x", "cdna3", "", 196608)),
        ("NVIDIA-H100-NVL", ("h100", "hopper", "9.0", 95830)),
        ("NVIDIA-H100-NVL-SHARED", ("h100", "hopper", "9.0", 95830)),
        ("NVIDIA-H100-NVL-MIG-1g.12gb", ("h100", "hopper", "9.0", 12288)),
        ("NVIDIA-GB300", ("gb300", "blackwell", "10.3", 0)),
        ("NVIDIA-GB10", ("gb10", "blackwell", "12.1", 0)),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", ("rtx-pro-6000", "blackwell", "12.0", 97887)),
        ("NVIDIA-RTX-6000-Ada-Generation", ("rtx-6000-ada", "ada-lovelace", "8.9", 49140)),
        ("NVIDIA-RTX-PRO-4500-Blackwell", ("nvidia-rtx-pro-4500-blackwell", "blackwell", "", 0)),
        ("NVIDIA-RTX-5000-Ada-Generation", ("nvidia-rtx-5000-ada-generation", "ada-lovelace", "8.9", 0)),
        # Virtual GPUs: GiB stand before the letter of the series.
        ("GRID-A100-10C", ("a100", "ampere", "8.0", 10240)),
        ("GRID-A100D-4-40C", ("a100", "ampere", "8.0", 40960)),
        ("GRID-A100D-1-10CME", ("a100", "ampere", "8.0", 10240)),
        ("GRID-V100DX-8Q", ("v100", "volta", "7.0", 8192)),
        ("NVIDIA-H100XM-80C", ("h100", "hopper", "9.0", 81920)),
        ("NVIDIA-H100L-94C", ("h100", "hopper", "9.0", 96256)),
        ("NVIDIA-L40S-24C-SHARED", ("l40s", "ada-lovelace", "8.9", 24576)),
        ("NVIDIA-A40-8Q", ("a40", "ampere", "8.6", 8192)),
        ("GRID-M60-8Q", ("grid-m60-8q", "", "", 8192)),
        ("NVIDIA-X1", ("nvidia-x1", "", "", 0)),
    ],
)
def test_what_follows_from_a_product(product: str, gpu: tuple[str, str, str, int]) -> None:
    assert describe(product) == Gpu(product, *gpu)


@pytest.mark.parametrize(
    ("given_", "gpu"),
    [
        ({"architecture": "A100"}, Gpu("", "a100", "ampere", "8.0", 40960)),
        ({"architecture": "NVIDIA-A100-SXM4-80GB"}, Gpu("", "a100", "ampere", "8.0", 40960)),
        ({"architecture": "Hopper"}, Gpu("", "hopper", "hopper", "9.0", 0)),
        ({"architecture": "ampere"}, Gpu("", "ampere", "ampere", "", 0)),
        ({"architecture": "8.6"}, Gpu("", "8.6", "", "8.6", 0)),
        ({"architecture": "tpu-v5", "memory": 16384}, Gpu("", "tpu-v5", "", "", 16384)),
        ({"product": "NVIDIA-L4", "memory": 1000}, Gpu("NVIDIA-L4", "l4", "ada-lovelace", "8.9", 1000)),
        (
            {"product": "NVIDIA-H100-80GB-HBM3", "architecture": "hopper"},
            Gpu("NVIDIA-H100-80GB-HBM3", "hopper", "hopper", "9.0", 81920),
        ),
    ],
)
def test_what_is_given_wins(given_: dict[str, str | int], gpu: Gpu) -> None:
    assert describe(**given_) == gpu  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("product", "architecture", "memory", "meets"),
    [
        *(
            ("NVIDIA-A100-SXM4-80GB", text, 0, True)
            for text in ("", "a100", "A100", "ampere", "8.0", "sm_80", "8.0+", "7.5+")
        ),
        *(("NVIDIA-A100-SXM4-80GB", text, 0, True) for text in ("NVIDIA-A100-SXM4-80GB", "nvidia-a100", "a100-80gb")),
        *(
            ("NVIDIA-A100-SXM4-80GB", text, 0, False)
            for text in ("h100", "hopper", "8.6", "8.6+", "7.5", "a100-40gb", "a10")
        ),
        ("NVIDIA-B200", "9.0+", 0, True),
        ("NVIDIA-B200", "8.9", 0, False),
        ("AMD_Instinct_MI300X_OAM", "8.0+", 0, False),
        ("AMD_Instinct_MI300X_OAM", "cdna3", 0, True),
        ("NVIDIA-L4", "", 23034, True),
        ("NVIDIA-L4", "", 24576, False),
        ("NVIDIA-X1", "", 1, False),
        ("NVIDIA-X1", "8.0+", 0, False),
        ("NVIDIA-X1", "hopper", 0, False),
        ("GRID-A100-10C", "a100", 10240, True),
        ("GRID-A100-10C", "a100", 24576, False),
        ("NVIDIA-GB300", "9.0+", 0, True),
        ("NVIDIA-GB300", "", 1, False),
        ("NVIDIA-RTX-PRO-4500-Blackwell", "10.0+", 0, True),
        ("NVIDIA-RTX-PRO-4500-Blackwell", "12.0", 0, False),
        ("NVIDIA-X1", "x1", 0, True),
        ("NVIDIA-X1", "x1 nvidia", 0, True),
        ("NVIDIA-X1", "x1 nvidia 8", 0, False),
    ],
)
def test_who_meets_a_requirement(product: str, architecture: str, memory: int, meets: bool) -> None:
    gpu, need = describe(product), Requirement(architecture, memory)
    assert satisfies(gpu, need) is meets
    assert bool(shortfall(gpu, need)) is not meets


@given(
    st.sampled_from(["NVIDIA-A100-SXM4-80GB", "NVIDIA-L4", "Tesla-T4", "NVIDIA-X1"]),
    st.sampled_from(["", "a100", "ampere", "8.9+", "l4", "x1", "turing"]),
    st.integers(0, 100_000),
)
def test_a_shortfall_is_told_just_where_there_is_one(product: str, architecture: str, memory: int) -> None:
    gpu, need = describe(product), Requirement(architecture, memory)
    assert (shortfall(gpu, need) == "") is satisfies(gpu, need)


@pytest.mark.parametrize(
    ("product", "need", "why"),
    [
        ("NVIDIA-L4", Requirement("a100"), "is l4 (ada-lovelace, 8.9), not a100"),
        ("NVIDIA-L4", Requirement("", 24576), "has 23034 MiB, and 24576 MiB are required"),
        ("NVIDIA-X1", Requirement("", 1), "is of a size that is not known, and 1 MiB are required"),
        ("NVIDIA-X1", Requirement("a100", 1), "is nvidia-x1, not a100"),
        *(
            ("NVIDIA-X1", Requirement(need), f"is nvidia-x1, which is not known to be {need}: {EXACTLY}")
            for need in ("8.0+", "9.0", "hopper")
        ),
        ("AMD_Instinct_MI300X_OAM", Requirement("8.0+"), "is mi300x (cdna3), not 8.0+"),
        ("AMD_Instinct_MI300X_OAM", Requirement("hopper"), "is mi300x (cdna3), not hopper"),
        ("NVIDIA-L4", Requirement("l4", 1), ""),
    ],
)
def test_why_a_gpu_does_not_do(product: str, need: Requirement, why: str) -> None:
    assert shortfall(describe(product), need) == why


@pytest.mark.parametrize(
    ("family", "need", "meets"),
    [
        *(("ampere", need, True) for need in ("8.0+", "7.5+", "ampere")),
        *(("ampere", need, None) for need in ("8.0", "8.6", "8.6+", "8.8+")),
        *(("ampere", need, False) for need in ("8.9+", "9.0+", "7.5", "8.9", "hopper", "a100")),
        *(("blackwell", need, True) for need in ("9.0+", "10.0+")),
        *(("blackwell", need, None) for need in ("10.3+", "12.0", "12.0+")),
        *(("blackwell", need, False) for need in ("13.0+", "9.0")),
        *(("hopper", need, True) for need in ("9.0", "9.0+", "8.9+")),
        ("hopper", "9.1+", False),
        ("cdna3", "8.0+", False),
    ],
)
def test_a_family_has_a_lowest_capability(family: str, need: str, meets: bool | None) -> None:
    gpu = describe(architecture=family)
    assert satisfies(gpu, Requirement(need)) is (meets is True)
    why = {True: "", False: f", not {need}", None: f", which is not known to be {need}: {EXACTLY}"}[meets]
    assert shortfall(gpu, Requirement(need)).endswith(why)


@pytest.mark.parametrize(
    ("family", "lowest", "below_beyond", "beyond"),
    [
        ("volta", "7.0", "7.4", "7.5"),
        ("turing", "7.5", "7.9", "8.0"),
        ("ampere", "8.0", "8.8", "8.9"),
        ("ada-lovelace", "8.9", "8.9", "9.0"),
        ("hopper", "9.0", "9.9", "10.0"),
        ("blackwell", "10.0", "12.9", "13.0"),
    ],
)
def test_the_range_of_a_familys_capabilities(family: str, lowest: str, below_beyond: str, beyond: str) -> None:
    gpu = Gpu(architecture=family, family=family)
    tenths = round(float(lowest) * 10) - 1
    below = f"{tenths // 10}.{tenths % 10}"
    unknown = f"is {family}, which is not known to be "
    assert shortfall(gpu, Requirement(f"{lowest}+")) == ""
    assert shortfall(gpu, Requirement(lowest)) == f"{unknown}{lowest}: {EXACTLY}"
    assert shortfall(gpu, Requirement(below)) == f"is {family}, not {below}"
    assert shortfall(gpu, Requirement(below_beyond)) == f"{unknown}{below_beyond}: {EXACTLY}"
    assert shortfall(gpu, Requirement(beyond)) == f"is {family}, not {beyond}"
    assert shortfall(gpu, Requirement(f"{beyond}+")) == f"is {family}, not {beyond}+"


@pytest.mark.parametrize(
    ("name", "memory"),
    # Nominal memory of the vendors' data sheets in MiB, or what nvidia-smi shows as total.
    [
        *(("v100", 16384), ("t4", 15360), ("a100", 40960), ("a30", 24576), ("a800", 81920), ("a10", 23028)),
        *(("a10g", 23028), ("a16", 15356), ("a40", 46068), ("a2", 15356), ("a6000", 49140), ("3090", 24576)),
        *(("l4", 23034), ("l40", 46068), ("l40s", 46068), ("l20", 46068), ("4090", 24564), ("h100", 81559)),
        *(("h800", 81559), ("h200", 143771), ("h20", 97871), ("gh200", 97871), ("b200", 183359), ("gb200", 189471)),
        *(("b300", 275040), ("rtx-pro-6000", 97887), ("rtx-6000-ada", 49140), ("5090", 32607)),
        *(("mi210", 64 << 10), ("mi250", 64 << 10), ("mi250x", 64 << 10), ("mi300a", 128 << 10)),
        *(("mi300x", 192 << 10), ("mi325x", 256 << 10), ("mi355x", 288 << 10)),
        *(("gaudi2", 96 << 10), ("gaudi3", 128 << 10), ("gb300", 0), ("gb10", 0)),
    ],
)
def test_the_memory_of_a_product(name: str, memory: int) -> None:
    gpu = describe(architecture=name)
    assert (gpu.architecture, gpu.memory) == (name, memory)
    assert satisfies(gpu, Requirement(name, memory))
    assert not satisfies(gpu, Requirement(name, memory + 1))


def test_nothing_is_required_and_nothing_known_without_a_word() -> None:
    assert (Gpu().memory, Requirement().memory) == (0, 0)
    assert satisfies(Gpu(), Requirement())
    assert not satisfies(Gpu(), Requirement(memory=1))


def test_the_capabilities_of_a_family_are_those_of_its_products() -> None:
    for name in ("v100", "t4", "a100", "a10", "l4", "h100", "b200", "gb10", "5090"):
        gpu = describe(architecture=name)
        assert satisfies(gpu, Requirement(gpu.capability + "+"))
        assert shortfall(describe(architecture=gpu.family), Requirement(gpu.capability)) in (
            "",
            f"is {gpu.family}, which is not known to be {gpu.capability}: {EXACTLY}",
        )


@pytest.mark.parametrize("text", ["a100", "A100", "NVIDIA-A100-SXM4-80GB", "Hopper", "8.0", "8.0+", "sm_90", "10.0"])
def test_architectures_that_are_known(text: str) -> None:
    assert known_architecture(text)


@pytest.mark.parametrize("text", ["", "a1000", "8", "8.0.0", "ampere2", "100.0", "+", "8.0-"])
def test_architectures_that_are_not(text: str) -> None:
    assert not known_architecture(text)


def test_short_names() -> None:
    assert short_name("NVIDIA-A100-SXM4-80GB") == "a100"
    assert short_name("nvidia a100x") == ""
    assert {"ampere", "hopper", "cdna3"} <= FAMILIES
