"""A policy mounted from a ConfigMap, as the kubelet changes it: a new directory beside the old one, then a link moves.

The processor runs as in the Deployment: ``serve -f`` with the mounted directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grpc.served import Served
from tests.house.tree import ROOT
from tests.policy_documents import file, policy, pool
from tests.waiting import until

HALF = file(policy("port: 3"), pool())[:-30]
"""A file that was cut off while it was written into the ConfigMap."""


class Mount:
    """A volume as the kubelet writes it (its atomic writer)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0

    def put(self, **files: str) -> None:
        """Replaces everything in one step; underscores in names stand for dots."""
        self._number += 1
        new = self.path / f"..2026_11_23_{self._number:02}"
        new.mkdir()
        names = {name.replace("_", "."): text for name, text in files.items()}
        for name, text in names.items():
            (new / name).write_text(text)
        old = self.path / "..data"
        gone = old.resolve() if old.exists() else None
        (self.path / "..data_tmp").symlink_to(new.name)
        os.replace(self.path / "..data_tmp", old)  # noqa: PTH105 - moves the link, not what it leads to
        for name in names:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for link in self.path.iterdir():
            if not link.name.startswith("..") and link.name not in names:
                link.unlink()
        if gone:
            shutil.rmtree(gone)


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    folder = tmp_path / "aimesh"
    folder.mkdir()
    made = Mount(folder)
    made.put(policy_yaml=policy("port: 1"))
    return made


@pytest.fixture
def served(mount: Mount) -> Iterator[Served]:
    with Served(mount.path) as process:
        yield process.ready()


def port(served: Served) -> int:
    return int(served.config()["policies"][0]["port"])


def failures(served: Served) -> float:
    return served.metric('extproc_policy_reloads_total{result="failure"}')


def test_a_swap_is_a_reload_and_a_bad_one_keeps_the_last_good_policy(mount: Mount, served: Served) -> None:
    assert port(served) == 1
    mount.put(policy_yaml=policy("port: 2"))
    until(lambda: port(served) == 2)
    for bad in (HALF, policy("prot: 4"), ""):
        before = failures(served)
        mount.put(policy_yaml=bad)
        until(lambda before=before: failures(served) == before + 1)  # type: ignore[misc]
        found = served.config()
        assert (found["policies"][0]["port"], found["generation"]) == (2, 2)
        assert found["problems"]
        assert served.get("/readyz")[0] == 200, "a processor with an older policy is better than none"
    mount.put(policy_yaml=policy("port: 5"), pools_yaml=file(policy("models: [b]", "b")))
    until(lambda: len(served.config()["policies"]) == 2)
    found = served.config()
    assert (found["policies"][0]["port"], found["problems"]) == (5, [])


def test_the_policy_of_the_installation_can_be_served(tmp_path: Path) -> None:
    folder = tmp_path / "aimesh"
    folder.mkdir()
    Mount(folder).put(policy_yaml=(ROOT / "istio" / "policy.yaml").read_text())
    with Served(folder) as process:
        assert process.ready().config()["policies"][0]["name"] == "chat"
