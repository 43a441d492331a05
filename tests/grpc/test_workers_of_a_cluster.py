"""``extproc serve --kubernetes --workers N``: each worker watches the API server, and the admin port speaks for all.

A fake one (tests/unit/kubernetes): what a real one does is in tests/kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.admin.client import Replica, Unreachable
from tests.grpc.served import ServedWorkers
from tests.unit.kubernetes.fake_api import FakeApi, made
from tests.waiting import until

COUNT = 2


class ClusterWorkers(ServedWorkers):
    """A supervisor with workers that watch a cluster."""

    def __init__(self, kubeconfig: Path, directory: Path, admin: str = "127.0.0.1:0") -> None:
        addresses = ("--listen", f"unix://{directory}/p.sock", "--admin", admin, "--workers", str(COUNT))
        kept = ("--snapshot-directory", str(directory))
        self.count = COUNT
        self._start(["--kubernetes", *addresses, *kept], {"KUBECONFIG": str(kubeconfig), "TMPDIR": str(directory)})


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with FakeApi(tmp_path) as fake:
        yield fake


def test_every_worker_follows_the_objects(api: FakeApi, tmp_path: Path) -> None:
    api.put(made("ModelInferencePolicy", "chat", {"models": ["chat"], "port": 1}))
    with ClusterWorkers(api.kubeconfig, tmp_path).ready() as team:
        until(lambda: api.watches == 2 * COUNT)  # policies and pools
        assert team.get("/readyz") == (200, "ready\n")
        assert team.metric('extproc_policy_objects{state="in_force"}') == 1
        api.put(made("GpuPool", "west", {"product": "NVIDIA-A100-SXM4-80GB"}))
        api.put(made("ModelInferencePolicy", "chat", {"models": ["chat"], "port": 2}))
        until(lambda: team.metric('extproc_policy_objects{state="in_force"}') == 2)
        until(lambda: team.config()["policies"][0]["port"] == 2)
        # A worker that has missed something would still tell an earlier generation.
        until(lambda: team.get("/metrics")[1].count("extproc_policy_info{") == 1)
        assert (tmp_path / "policies.json").exists()
        api.answer = 503, b"{}"
        api.end_watches()
        until(lambda: team.metric("extproc_policies_in_step") == 0)
        assert team.get("/readyz") == (200, "ready\n")
        assert team.config()["policies"][0]["port"] == 2


def test_without_the_api_server_the_admin_port_says_why_none_is_ready(api: FakeApi, tmp_path: Path) -> None:
    api.answer = 503, b'{"message": "away"}'
    admin = tmp_path / "admin.sock"
    with ClusterWorkers(api.kubeconfig, tmp_path, admin=f"unix://{admin}") as team:
        why = "status 503: not ready: starting; worker 1 answers /readyz with status 503: "
        until(lambda: why in _unready(admin) or team.process.poll() is not None)
        until(lambda: "503: away" in _unready(admin))
        api.answer = None
        until(lambda: not _unready(admin))


def _unready(admin: Path) -> str:
    try:
        Replica("the team", str(admin)).get("/readyz")
    except Unreachable as error:
        return str(error)
    return ""
