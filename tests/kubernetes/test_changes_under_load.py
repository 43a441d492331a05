"""Changes under load, in random order, by a sidecar and a gateway that a real istiod drives: no request fails, and none
is answered by another version than headers, logs and metrics say.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.kubernetes.live_mesh import PATIENCE, LiveMesh, policy, pool
from tests.kubernetes.mesh_cluster import POOLS, SERVICES, VERSIONS
from tests.kubernetes.mesh_traffic import Answer
from tests.waiting import until

pytestmark = pytest.mark.timeout(7200)
ROUNDS = int(os.environ.get("EXTPROC_TEST_ROUNDS", "1"))
"""How often each kind of change is made."""
SEED = int(os.environ.get("EXTPROC_TEST_SEED", "17"))
USERS = 4
"""Whose stay on one version is looked at after each change."""
STICKY = ("x-user", "x-tenant")


class Wanted:
    """The policies and pools as they should be, and the changes that can be made to them."""

    def __init__(self, mesh: LiveMesh, draw: random.Random) -> None:
        self._mesh, self._draw = mesh, draw
        self.pools = ["west"]
        self.policies: dict[str, dict[str, Any]] = {
            service.name: {
                "models": [f"{service.name}-*"],
                "host": service.host,
                "port": 8080,
                "versions": [{"name": "v1", "weight": 9}, {"name": "v2", "weight": 1}],
                "sticky": {"header": STICKY[0]},
                "gpuRequirements": {"architecture": "8.0+"},
                "onNoGpu": "ignore",
            }
            for service in SERVICES
        }
        self._deleted: dict[str, dict[str, Any]] = {}
        mesh.apply([pool("west"), *(policy(name, spec) for name, spec in self.policies.items())])

    def _some_policy(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        names = [name for name, spec in sorted(self.policies.items()) if fits(spec)]
        return self.policies[self._draw.choice(names)] if names else None

    def _apply_changed(self, spec: dict[str, Any] | None) -> bool:
        if spec is None:
            return False
        name = next(name for name, one in self.policies.items() if one is spec)
        self._mesh.apply([policy(name, spec)])
        return True

    # Each change returns whether it can be made.

    def version_added(self) -> bool:
        spec = self._some_policy(lambda spec: len(spec["versions"]) < len(VERSIONS))
        if spec is not None:
            known = {version["name"] for version in spec["versions"]}
            name = self._draw.choice([name for name in VERSIONS if name not in known])
            spec["versions"].append({"name": name, "weight": self._draw.randint(1, 9)})
        return self._apply_changed(spec)

    def version_removed(self) -> bool:
        spec = self._some_policy(lambda spec: len(spec["versions"]) > 1)
        if spec is not None:
            spec["versions"].pop(self._draw.randrange(len(spec["versions"])))
        return self._apply_changed(spec)

    def weight_moved(self) -> bool:
        spec = self._some_policy(lambda spec: len(spec["versions"]) > 1)
        if spec is not None:
            self._draw.choice(spec["versions"])["weight"] += self._draw.randint(1, 9)
        return self._apply_changed(spec)

    def sticky_header_changed(self) -> bool:
        spec = self._some_policy(bool)
        if spec is not None:
            spec["sticky"] = {"header": next(name for name in STICKY if name != spec["sticky"]["header"])}
        return self._apply_changed(spec)

    def pool_added(self) -> bool:
        names = [name for name in POOLS if name not in self.pools]
        if names:
            self.pools.append(names[0])
            self._mesh.apply([pool(names[0])])
        return bool(names)

    def pool_removed(self) -> bool:
        if len(self.pools) < 2:
            return False
        self._mesh.delete("gpupool", self.pools.pop(self._draw.randrange(len(self.pools))))
        return True

    def policy_deleted(self) -> bool:
        if not self.policies:
            return False
        name = self._draw.choice(sorted(self.policies))
        self._deleted[name] = self.policies.pop(name)
        self._mesh.delete("mip", name)
        return True

    def policy_added(self) -> bool:
        if not self._deleted:
            return False
        name = self._draw.choice(sorted(self._deleted))
        self.policies[name] = self._deleted.pop(name)
        self._mesh.apply([policy(name, self.policies[name])])
        return True


def users_stay(mesh: LiveMesh, wanted: Wanted) -> list[Answer]:
    """Whoever sends the sticky header gets one version, whatever else is sent, and at both entrances.

    Returns the answers for which no version was decided.
    """
    undecided: list[Answer] = []
    for name, spec in wanted.policies.items():
        header = spec["sticky"]["header"]
        for user in range(USERS):
            answers = []
            for entrance in ("sidecar", "gateway"):
                for other in range(2):
                    sent = dict.fromkeys(STICKY, f"other-{other}") | {header: f"user-{user}"}
                    answers.append(mesh.traffic.ask(entrance, name, **sent))
            undecided += [answer for answer in answers if not answer.version]
            found = {answer.version for answer in answers if answer.version}
            assert len(found) <= 1, (name, header, user, answers)
            assert found <= {version["name"] for version in spec["versions"]}, (name, header, user, answers)
    return undecided


def test_no_request_fails_and_none_is_misled(mesh: LiveMesh) -> None:
    draw = random.Random(SEED)
    with mesh.controller() as controller:
        wanted = Wanted(mesh, draw)
        until(lambda: mesh.follows(wanted.policies), PATIENCE, pause=0.2)
        mesh.traffic.start()
        kinds = [wanted.version_added, wanted.weight_moved, wanted.pool_added, wanted.sticky_header_changed]
        kinds += [wanted.version_removed, wanted.policy_deleted, wanted.pool_removed, wanted.policy_added]
        left = kinds * ROUNDS
        undecided: list[Answer] = []
        while left:
            draw.shuffle(left)
            made = next(change for change in left if change())
            left.remove(made)
            until(lambda: mesh.follows(wanted.policies), PATIENCE, pause=0.2)
            undecided += users_stay(mesh, wanted)
            mesh.traffic.more(draw.choice([1, 50, 500]))  # the next change comes before, or after, what is left is gone
            mesh.nothing_is_wrong()
        mesh.apply_nothing()
        until(mesh.is_empty, PATIENCE, pause=0.2)
        assert controller.process.poll() is None
        mesh.check()
        failed_open = mesh.failed_open()
        assert [answer for answer in undecided if answer.request not in failed_open] == [], controller.said()
    decided = sum(mesh.traffic.by_version.values())
    print(
        f"\n{len(kinds) * ROUNDS} changes, {mesh.traffic.answered} answers, {decided} of them by a version decided for"
    )
    print(f"{len(failed_open)} failed open, of users whose stay was looked at {len(undecided)}")
