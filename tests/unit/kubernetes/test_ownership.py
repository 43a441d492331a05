"""Whose an object is, among several controllers."""

from __future__ import annotations

import asyncio

import pytest

from extproc.kubernetes.api import ApiFailure, Object, Resource
from extproc.kubernetes.object_documents import key_of
from extproc.kubernetes.ownership import Ownership
from tests.unit.kubernetes.memory_api import MemoryApi, made

LEASE: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"namespace": "b", "name": "c"}}


def policy(name: str, controller: str = "") -> Object:
    status = {"status": {"controller": controller}} if controller else {}
    return made("ModelInferencePolicy", name, {}) | status


def others(api: MemoryApi, *policies: Object) -> list[str]:
    objects = {key_of(one): one for one in policies}
    return [key.name for key in asyncio.run(Ownership("a/c").others(api, objects))]  # type: ignore[arg-type]


def test_what_another_controller_has_is_left_to_it_while_its_lease_is_there() -> None:
    policies = policy("new"), policy("mine", "a/c"), policy("theirs", "b/c"), policy("theirs-too", "b/c")
    api = MemoryApi(LEASE)
    assert others(api, *policies) == ["theirs", "theirs-too"]
    assert api.gets == 1
    api.remove("Lease", "c")
    assert others(api, *policies) == []


@pytest.mark.parametrize(("status", "left"), [(403, ["theirs"]), (500, None)])
def test_a_lease_that_can_not_be_read(status: int, left: list[str] | None) -> None:
    class Api(MemoryApi):
        async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:  # noqa: ARG002
            raise ApiFailure("no", status)

    if left is None:
        with pytest.raises(ApiFailure):
            others(Api(), policy("theirs", "b/c"))
    else:
        assert others(Api(), policy("theirs", "b/c")) == left


def test_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    mine, theirs = Ownership("a/c"), policy("theirs", "b/c")
    for _ in range(2):
        asyncio.run(mine.others(MemoryApi(LEASE), {key_of(theirs): theirs}))  # type: ignore[arg-type]
    assert caplog.messages == ["ModelInferencePolicy ai/theirs is left to the controller of the Lease b/c"]
