"""What a controller's pages say."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from extproc.admin.controller_pages import ControllerPages
from extproc.errors import SetupError

GUARD = {"guard": "errors ≤ 1%", "verdict": "passing"}
ROLLOUT = {"policy": "chat", "to": "v2", "phase": "Progressing", "percent": 25, "fault": "", "guards": [GUARD]}


@pytest.fixture
def pages() -> Iterator[ControllerPages]:
    made = ControllerPages("127.0.0.1:0", lambda: [ROLLOUT])
    made.start()
    yield made
    made.stop()


def get(pages: ControllerPages, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{pages.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_rollouts_and_metrics(pages: ControllerPages) -> None:
    assert get(pages, "/healthz") == (200, "ok\n")
    found: Any = json.loads(get(pages, "/rollouts?x")[1])
    assert found == [ROLLOUT]
    status, metrics = get(pages, "/metrics")
    assert status == 200
    assert 'inference_rollout_step{policy="chat",version="v2"} 25.0' in metrics
    assert 'inference_rollout_verdict{guard="errors ≤ 1%",policy="chat",version="v2"} 1.0' in metrics
    assert get(pages, "/metrics", "HEAD") == (200, "")
    assert get(pages, "/config") == (404, "not found; there are /healthz /metrics /rollouts\n")


def test_an_address_that_can_not_be_had(pages: ControllerPages) -> None:
    with pytest.raises(SetupError, match=r"cannot listen on .* \(--admin\): Address already in use"):
        ControllerPages(f"127.0.0.1:{pages.port}", tuple)
    with pytest.raises(SetupError, match="give another address of this machine with --admin"):
        ControllerPages("127.0.0.1:http", tuple)
