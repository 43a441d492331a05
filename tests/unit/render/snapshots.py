"""Small snapshots for tests of renderers, and lookups in what is rendered."""

from __future__ import annotations

from typing import Any

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

Doc = dict[str, Any]

A100 = Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 81920)
WEST = GpuPool("west", A100, ("10.0.0.1:80", "10.0.0.2:80"))
EAST = GpuPool("east", A100, ("[fd00::1]:80",))

PLAIN = Snapshot((Policy("plain", "ai", host="plain"),))
"""Neither versions nor pools; every model."""

CANARY = Snapshot(
    (
        Policy(
            "chat",
            "ai",
            host="chat",
            models=("llama",),
            versions=(Version("v1", 9, ("10.0.1.1:80",)), Version("v2", 1, ("10.0.1.2:80",))),
        ),
    )
)
"""Two versions of one model, each with an endpoint."""

POOLED = Snapshot(
    (Policy("chat", "ai", host="chat", models=("llama",), versions=(Version("v1"),), gpu=Requirement("a100")),),
    (WEST, EAST),
)
"""One version on two pools, with two endpoints and one."""

MIRRORED = Snapshot(
    (
        Policy(
            "chat",
            "ai",
            host="chat",
            models=("llama",),
            versions=(Version("v1", 1, ("10.0.1.1:80",)), Version("next", 0, ("10.0.1.2:80",), mirror=30)),
        ),
    )
)
"""A version, and a mirror with 30 percent of the requests."""

UNSERVED = Snapshot(
    (Policy("chat", "ai", host="chat", models=("llama",), versions=(Version("v1"),), gpu=Requirement("h100")),),
    (WEST,),
)
"""No pool has the GPU that the policy requires."""


def policy(**fields: Any) -> Policy:
    """A policy for the model llama with other fields."""
    return Policy("chat", **({"namespace": "ai", "host": "chat", "models": ("llama",)} | fields))


def by_name(found: list[Doc]) -> dict[str, Doc]:
    """Objects with a name, by it."""
    return {one["name"]: one for one in found}
