"""Targets of a version: the pools that may serve it, and their servers."""

from __future__ import annotations

import pytest

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Version
from extproc.policy.target import Target
from extproc.policy.targets_of_version import targets_of

BIG = GpuPool("big", Gpu(architecture="h100", memory=81920), ("1.1.1.1:1", "1.1.1.2:1"))
SMALL = GpuPool("small", Gpu(architecture="l4", memory=23034), ("1.1.1.3:1",))
ANY = Policy("p", host="h", gpu=Requirement(memory=1 << 20), reject_without_gpu=False)
WANTING = Policy("p", host="h", port=80, gpu=Requirement(memory=40960))


@pytest.mark.parametrize(
    ("policy", "version", "wanted"),
    [
        (Policy("p", host="h", port=80), Version("v"), [("", ("h:80",))]),
        (Policy("p", host="h"), Version("v", 1, ("a:1",)), [("", ("a:1",))]),
        (WANTING, Version("v"), [("big", BIG.endpoints)]),
        (WANTING, Version("v", 1, ("1.1.1.2:1", "9.9.9.9:1")), [("big", ("1.1.1.2:1",))]),
        (WANTING, Version("v", gpu_pools=("small",)), []),
        (Policy("p", gpu=Requirement(memory=1 << 20)), Version("v"), []),
        (ANY, Version("v"), [("", ("h:8080",))]),
        (Policy("p", host="h"), Version("v", gpu_pools=("small", "gone")), [("small", SMALL.endpoints)]),
    ],
)
def test_pools_and_servers(policy: Policy, version: Version, wanted: list[tuple[str, tuple[str, ...]]]) -> None:
    found = targets_of(policy, version, (BIG, SMALL))
    assert found == tuple(Target("p", "v", pool, endpoints) for pool, endpoints in wanted)
