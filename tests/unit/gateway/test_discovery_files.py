"""The order in which a running Envoy's files change, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.gateway import discovery_files
from extproc.gateway.discovery_files import DiscoveryFiles
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.envoy.bootstrap import CLUSTERS, LISTENERS, ROUTES_FILE
from extproc.render.envoy.envoy_options import EnvoyOptions

OPTIONS = EnvoyOptions(listen="127.0.0.1:0", admin="127.0.0.1:0")


class Child:
    """Stands for the process of an Envoy, whose log is read a little later than it refuses something."""

    def __init__(self) -> None:
        self.looks = 0

    def last_line(self) -> str:
        self.looks += 1
        return "no such field: nonsense" if self.looks > 5 else "started"


def snapshot(*names: str) -> Snapshot:
    versions = tuple(Version(name, 1, ("127.0.0.1:9000",)) for name in names)
    return Snapshot((Policy("chat", models=("m",), versions=versions),))


class Watching:
    """Stands for an Envoy that watches the files: takes each at once, or refuses the one named."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.child, self.refuses, self.warming = directory, Child(), "", 0
        self.seen: list[tuple[str, list[str]]] = []
        self.versions: set[str] = set()
        self.refusals = 0

    def content(self, file: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / file).read_text())
        return found

    def text_readout(self, name: str) -> str:
        file = next(
            f for f, part in ((CLUSTERS, ".cds."), (LISTENERS, ".lds."), (ROUTES_FILE, ".rds.")) if part in name
        )
        found = self.content(file)
        version = str(found["version_info"])
        if file == self.refuses:
            self.refusals = 1
            return ""
        if version not in self.versions:
            self.versions.add(version)
            self.seen.append((file, [resource["name"] for resource in found["resources"]]))
        return version

    def stats(self, prefix: str) -> dict[str, int]:
        if "warming" in prefix:
            return {prefix: self.warming}
        return {prefix: self.refusals if prefix.endswith("update_rejected") else 0}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DiscoveryFiles:
    monkeypatch.setattr(discovery_files, "_POLL_INTERVAL", 0.001)
    monkeypatch.setattr(discovery_files, "_CLUSTER_REMOVAL_DELAY", 0.0)
    return DiscoveryFiles(OPTIONS, tmp_path)


def follow(files: DiscoveryFiles, envoy: Watching, to: Snapshot, timeout: float = 10.0) -> None:
    files.follow(envoy, to, timeout)  # type: ignore[arg-type]


def test_new_clusters_come_before_routes_and_old_ones_go_after(files: DiscoveryFiles, tmp_path: Path) -> None:
    document = files.start(snapshot("v1", "v2"))
    assert "dynamic_resources" in document
    envoy = Watching(tmp_path)
    before = [resource["name"] for resource in envoy.content(CLUSTERS)["resources"]]
    follow(files, envoy, snapshot("v2", "v3"))
    every, routes, listeners, left = envoy.seen
    assert [every[0], routes[0], listeners[0], left[0]] == [CLUSTERS, ROUTES_FILE, LISTENERS, CLUSTERS]
    assert set(every[1]) > set(before)
    assert set(every[1]) - set(left[1]) == {name for name in before if "v1" in name} != set()
    assert not list(tmp_path.glob(".*")), "files are renamed into their place"


def test_a_change_of_weights_leaves_clusters_alone(files: DiscoveryFiles, tmp_path: Path) -> None:
    files.start(snapshot("v1"))
    envoy = Watching(tmp_path)
    follow(files, envoy, snapshot("v1"))
    assert [file for file, _ in envoy.seen] == [ROUTES_FILE, LISTENERS]


def test_what_envoy_refuses_is_said_and_old_clusters_stay(files: DiscoveryFiles, tmp_path: Path) -> None:
    files.start(snapshot("v1"))
    envoy = Watching(tmp_path)
    envoy.refuses = ROUTES_FILE
    with pytest.raises(SetupError, match="Envoy refuses the policy's routes: no such field: nonsense"):
        follow(files, envoy, snapshot("v2"))
    names = [resource["name"] for resource in envoy.content(CLUSTERS)["resources"]]
    assert any("v1" in name for name in names)
    assert any("v2" in name for name in names)


def test_a_cluster_that_goes_on_warming_is_not_waited_for_without_end(files: DiscoveryFiles, tmp_path: Path) -> None:
    files.start(snapshot("v1"))
    envoy = Watching(tmp_path)
    envoy.warming = 1
    with pytest.raises(SetupError, match="Envoy did not take the policy's clusters in time"):
        follow(files, envoy, snapshot("v2"), timeout=0.05)
