"""Controllers with Leases of their own in one cluster: none touches what another has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from extproc.kubernetes.mesh_objects import LEASE, Key
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.test_policies_carried_out import conditions, in_force, istio, policy, status, waits_for
from tests.manifests.crds import needed
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(600)]
PATIENCE = 90


@pytest.fixture
def other(istio: ControlPlane, namespace: str) -> Iterator[str]:
    """A second namespace."""
    name = f"{namespace}-other"
    istio.kubectl("create", "namespace", name)
    yield name
    istio.kubectl("delete", "mip", "--all", "-n", name, "--wait=false")


def owners(control_plane: ControlPlane) -> dict[str, set[str]]:
    """By namespace, the Leases of those that made its objects."""
    found: dict[str, set[str]] = {}
    for key, one in live(control_plane).items():
        found.setdefault(key.namespace, set()).add(one["metadata"]["annotations"][LEASE])
    return found


def uids(control_plane: ControlPlane) -> dict[Key, str]:
    """Of all objects that ``passes`` does not delete: one that was removed and made again is another."""
    return {key: one["metadata"]["uid"] for key, one in live(control_plane).items() if key.kind != "VirtualService"}


def passes(control_plane: ControlPlane, *namespaces: str) -> None:
    """Has the controllers of these make passes: twice each puts back what was deleted, so that one pass is over."""
    for namespace in 2 * namespaces:
        gone = {key for key in live(control_plane) if (key.kind, key.namespace) == ("VirtualService", namespace)}
        assert gone
        control_plane.kubectl("delete", "vs", "--all", "-n", namespace)
        until(lambda gone=gone: gone <= live(control_plane).keys(), PATIENCE)  # type: ignore[misc]


def clear(control_plane: ControlPlane, *namespaces: str) -> None:
    for name in namespaces:
        control_plane.kubectl("delete", "mip", "--all", "-n", name)
    until(lambda: not live(control_plane), PATIENCE)


def test_two_namespaces_two_controllers(istio: ControlPlane, namespace: str, other: str) -> None:
    istio.apply(policy(namespace, models=["a"]), policy(other, "talk", models=["b"], host="talk"))
    with ControllerProcess(istio, namespace), ControllerProcess(istio, other):
        waits_for(istio, namespace)
        waits_for(istio, other, "talk")
        before = uids(istio)
        passes(istio, namespace, other)
        assert uids(istio) == before
        assert owners(istio) == {name: {f"{name}/controller"} for name in (namespace, other)}
        istio.kubectl("delete", "mip", "chat", "-n", namespace)
        until(lambda: namespace not in owners(istio), PATIENCE)
        assert {key.namespace for key in live(istio)} == {other}
        clear(istio, other)


@pytest.mark.parametrize("everywhere", [True, False], ids=["one watches all", "both watch one"])
def test_what_two_watch_belongs_to_the_first(istio: ControlPlane, namespace: str, other: str, everywhere: bool) -> None:
    istio.apply(policy(namespace, models=["a"]))
    with ControllerProcess(istio, namespace) as first:
        waits_for(istio, namespace)
        before = uids(istio), status(istio, namespace)
        assert before[1]["controller"] == f"{namespace}/controller"
        more = () if everywhere else ("--namespace", namespace)
        with ControllerProcess(istio, other, *more, everywhere=everywhere) as second:
            istio.apply(policy(other, "talk", models=["b"], host="talk"))
            waits_for(istio, other, "talk")
            told = f"{namespace}/chat is left to the controller of the Lease {namespace}/controller"
            until(lambda: told in second.said(), PATIENCE)
            passes(istio, namespace, other)
            mine = {key: uid for key, uid in uids(istio).items() if key.namespace == namespace}
            assert (mine, status(istio, namespace)) == before
            # It is the second's when the first is removed, with its Lease.
            first.end()
            istio.kubectl("delete", "lease", "controller", "-n", namespace)
            changed: dict[str, Any] = {"models": ["a"], "port": 81}
            istio.apply(policy(namespace, **changed))
            until(lambda: in_force(istio, namespace) == changed, PATIENCE)
            until(lambda: owners(istio)[namespace] == {f"{other}/controller"}, PATIENCE)
            assert conditions(istio, namespace)["Programmed"][0] == "True"
            clear(istio, namespace, other)
