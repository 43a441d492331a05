"""Writing the mesh's objects: what is applied, refused, taken by force, let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.names import Service

from extproc.kubernetes.api import ApiFailure, Listed, Resource
from extproc.kubernetes.leader import LostLead
from extproc.kubernetes.mesh_objects import LABEL, LEASE, Changes, Doc, controlled, key_of
from extproc.kubernetes.mesh_writer import ISTIO, LINKERD, MANAGER, MeshWriter
from extproc.kubernetes.ownership import Ownership
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from tests.unit.kubernetes.memory_api import MemoryApi
from tests.unit.render.snapshots import CANARY

MINE = Ownership("ai/controller")
OBJECTS = controlled(documents(CANARY, IstioOptions(proxies=("sidecar",), rules=True)), "istio")
(RULE,) = (doc for key, doc in OBJECTS.items() if key.kind == "DestinationRule")


def led() -> None:
    """The check of a controller that leads."""


def lost() -> None:
    raise LostLead


def written(
    api: MemoryApi, changes: Changes, writer: MeshWriter | None = None, check: Callable[[], None] = led
) -> dict[str, str]:
    async def write() -> dict[str, str]:
        mine = writer or MeshWriter("istio", MINE, ISTIO)
        await mine.read(api)  # type: ignore[arg-type]
        failures = await mine.write(api, changes, check)  # type: ignore[arg-type]
        before = dict(mine.live)
        await mine.read(api)  # type: ignore[arg-type]
        assert {k: v["metadata"]["resourceVersion"] for k, v in mine.live.items()} == {
            k: v["metadata"]["resourceVersion"] for k, v in before.items()
        }
        return {str(key): why for key, why in failures.items()}

    return asyncio.run(write())


def test_every_kind_that_is_rendered_can_be_written() -> None:
    rendered = manifests.render(CANARY, {"a.yaml": ""}, Options(gateway=Service("ai", "gateway"))).manifests
    for docs, mesh, resources in ((OBJECTS.values(), "istio", ISTIO), (rendered, "linkerd", LINKERD)):
        api = MemoryApi()
        objects = controlled(docs, mesh)
        assert written(api, Changes(tuple(objects.values())), MeshWriter(mesh, MINE, resources)) == {}
        assert len(api.objects) == len(objects)
        versions = {(one.kind, one.api_version) for one in resources}
        assert {(doc["kind"], doc["apiVersion"]) for doc in objects.values()} <= versions


def test_kinds_of_one_place_are_looked_for_there_only() -> None:
    """So that the rights to Deployments and ConfigMaps need not reach beyond the gateway's namespace."""
    asked = {}

    class Api(MemoryApi):
        async def list(self, resource: Resource, namespace: str = "", labels: str = "") -> Listed:
            asked[resource.kind] = namespace
            return await super().list(resource, namespace, labels)

    written(Api(), Changes(), MeshWriter("linkerd", MINE, LINKERD, {"Deployment": "edge"}))
    assert asked == {one.kind: "edge" if one.kind == "Deployment" else "" for one in LINKERD}


def test_only_what_has_the_label_is_the_controllers() -> None:
    theirs = {**RULE, "metadata": {**RULE["metadata"], "labels": {}}}
    api = MemoryApi(theirs)
    why = written(api, Changes((RULE,)))
    assert why == {
        str(key_of(RULE)): "is there, and not the controller's; delete it, or label it ai.istio.io/controller=istio"
    }
    assert api.writes == []


def test_an_object_of_another_controller_is_not_touched_while_there_is_one() -> None:
    other = {LEASE: "ai/other"}
    theirs = {**RULE, "metadata": {**RULE["metadata"], "annotations": RULE["metadata"]["annotations"] | other}}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"namespace": "ai", "name": "other"}}
    api = MemoryApi(theirs, lease)
    why = "is there, and belongs to the controller of the Lease ai/other"
    assert written(api, Changes((RULE,))) == {str(key_of(RULE)): why}
    assert api.writes == []
    api.remove("Lease", "other")
    assert written(api, Changes((RULE,))) == {}
    assert api.find("DestinationRule", RULE["metadata"]["name"])["metadata"]["annotations"][LEASE] == MINE.lease


def test_each_controller_has_its_own_objects() -> None:
    api = MemoryApi()
    written(api, Changes(tuple(OBJECTS.values())))

    async def seen_by(lease: str) -> int:
        writer = MeshWriter("istio", Ownership(lease), ISTIO)
        await writer.read(api)  # type: ignore[arg-type]
        return len(writer.live)

    assert [asyncio.run(seen_by(lease)) for lease in (MINE.lease, "ai/other")] == [len(OBJECTS), 0]


def test_many_new_objects_are_not_looked_for_one_by_one() -> None:
    many = [{**RULE, "metadata": {**RULE["metadata"], "name": f"r{number}"}} for number in range(100)]
    api = MemoryApi({**many[7], "metadata": {**many[7]["metadata"], "labels": {}}})
    failures = written(api, Changes(tuple(many)))
    assert list(failures) == [str(key_of(many[7]))]
    assert (len(api.objects), api.gets) == (100, 0)
    assert api.lists == 2 * len(ISTIO) + 1


def with_managers(doc: Doc, *managers: tuple[str, str]) -> Doc:
    entries = [{"manager": name, "operation": operation} for name, operation in ((MANAGER, "Apply"), *managers)]
    return {**doc, "metadata": {**doc["metadata"], "managedFields": entries}}


def test_what_was_edited_by_hand_is_taken_back_and_what_is_applied_is_not() -> None:
    conflict = ApiFailure("409: conflict with other", 409)
    for managers, failures in (
        (("kubectl-edit", "Update"), {}),
        (("other", "Apply"), {str(key_of(RULE)): str(conflict)}),
    ):
        api = MemoryApi(with_managers(RULE, managers))
        api.refuse["DestinationRule", RULE["metadata"]["name"]] = conflict
        assert written(api, Changes((RULE,))) == failures


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_a_refusal_is_about_the_object_alone(status: int) -> None:
    api = MemoryApi()
    api.refuse["DestinationRule", RULE["metadata"]["name"]] = ApiFailure(f"{status}: no", status)
    assert written(api, Changes(tuple(OBJECTS.values()))) == {str(key_of(RULE)): f"{status}: no"}
    assert len(api.objects) == len(OBJECTS) - 1


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("status", [403, 500])
def test_objects_that_can_not_be_looked_for_are_not_touched(status: int, count: int) -> None:
    class Api(MemoryApi):
        async def get(self, resource: Resource, namespace: str, name: str) -> Doc | None:  # noqa: ARG002
            raise ApiFailure(f"{status}: no", status)

        async def list(self, resource: Resource, namespace: str = "", labels: str = "") -> Listed:
            if not labels:
                raise ApiFailure(f"{status}: no", status)
            return await super().list(resource, namespace, labels)

    api = Api()
    docs = tuple({**RULE, "metadata": {**RULE["metadata"], "name": f"r{number}"}} for number in range(count))
    if status == 500:
        with pytest.raises(ApiFailure):
            written(api, Changes(docs))
    else:
        assert written(api, Changes(docs)) == {str(key_of(doc)): "403: no" for doc in docs}
    assert api.writes == []


@pytest.mark.parametrize("status", [0, 401, 429, 500, 503])
def test_a_failure_of_the_server_ends_the_pass(status: int) -> None:
    api = MemoryApi()
    api.refuse["DestinationRule", RULE["metadata"]["name"]] = ApiFailure("away", status)
    with pytest.raises(ApiFailure, match="away"):
        written(api, Changes((RULE,)))


def test_what_goes_is_deleted_unless_others_apply_to_it() -> None:
    for managers, writes in (
        ([("pilot", "Update")], [("delete", "DestinationRule", RULE["metadata"]["name"])]),
        ([("other", "Apply")], [("apply", "DestinationRule", RULE["metadata"]["name"])]),
    ):
        live = with_managers(RULE, *managers)
        api = MemoryApi(live)
        assert written(api, Changes(remove=(live,))) == {}
        assert api.writes == writes
        assert all(LABEL not in (one["metadata"].get("labels") or {}) for one in api.objects.values())


def test_a_kind_that_the_server_does_not_know_has_no_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    api = MemoryApi(RULE)
    real = api.list

    async def listing(resource: Any, namespace: str = "", labels: str = "") -> Any:
        if resource.kind == "PrometheusRule":
            raise ApiFailure("404: no such kind", 404)
        if resource.kind == "Telemetry" and len(api.objects) > 1:
            raise ApiFailure("500: broken", 500)
        return await real(resource, namespace, labels)

    monkeypatch.setattr(api, "list", listing)
    assert written(api, Changes()) == {}
    api.put(next(doc for key, doc in OBJECTS.items() if key.kind == "VirtualService"))
    with pytest.raises(ApiFailure, match="broken"):
        written(api, Changes())


def test_who_has_lost_the_lead_writes_nothing() -> None:
    api = MemoryApi(RULE)
    for changes in (Changes(tuple(OBJECTS.values())), Changes(remove=(RULE,))):
        with pytest.raises(LostLead):
            written(api, changes, check=lost)
    assert api.writes == []
