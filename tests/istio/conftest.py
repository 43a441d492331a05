"""A real Envoy configured as Istio would from our manifests, the real processor, and model servers as pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extproc.gateway.envoy_process import Envoy
from tests.envoy.conftest import Gateway, processor, servers
from tests.istio.patching import Proxy

__all__ = ["processor", "run", "servers"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[Proxy], Gateway]]:
    """Starts Envoys as proxies of the mesh."""
    with ExitStack() as stack:

        def start(proxy: Proxy) -> Gateway:
            directory = tmp_path / f"envoy-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            log = directory / "access.log"
            envoy = stack.enter_context(Envoy(proxy.bootstrap(str(log)), directory))
            envoy.wait_ready()
            started = Gateway(envoy, log)
            stack.enter_context(started.opened)
            return started

        yield start
