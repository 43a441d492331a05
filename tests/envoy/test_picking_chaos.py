"""``extproc serve --inference-pool`` behind a real Envoy, while endpoints come and go ten times a second under load.

The API server is a fake one; on a real one it is in tests/kubernetes. ``EXTPROC_TEST_CHAOS`` says for how many seconds
(`make test-picking-chaos`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.picking_chaos import run
from tests.unit.kubernetes.fake_api import FakeApi

SECONDS = float(os.environ.get("EXTPROC_TEST_CHAOS", "0"))
pytestmark = [pytest.mark.envoy, pytest.mark.timeout(120 + 2 * SECONDS)]


def test_endpoints_that_come_and_go_cost_no_request(tmp_path: Path) -> None:
    with FakeApi(tmp_path) as api:
        hosts = [f"127.1.0.{number}" for number in range(1, 11)]
        print(f"\n{run(api.kubeconfig, 'ai', api.put, hosts, tmp_path, seconds=SECONDS)}")
