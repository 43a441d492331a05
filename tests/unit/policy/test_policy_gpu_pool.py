"""Who may use a pool."""

from __future__ import annotations

import pytest

from extproc.policy.gpu import Gpu
from extproc.policy.gpu_pool import GpuPool


@pytest.mark.parametrize(
    ("pool", "namespace", "is_open"),
    [
        (GpuPool("west", Gpu()), "anywhere", True),
        (GpuPool("west", Gpu(), namespace="a"), "a", True),
        (GpuPool("west", Gpu(), namespace="a"), "", True),
        (GpuPool("west", Gpu(), namespace="a"), "b", False),
        (GpuPool("west", Gpu(), namespace="a", allowed_namespaces=("b",)), "b", True),
        (GpuPool("west", Gpu(), namespace="a", allowed_namespaces=("*",)), "c", True),
    ],
)
def test_a_pool_is_open_to(pool: GpuPool, namespace: str, is_open: bool) -> None:
    assert pool.is_open_to(namespace) is is_open
