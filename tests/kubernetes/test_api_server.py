"""The connection to the API server: every verb, refusals, and what a server that is away looks like."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from extproc.kubernetes import api
from extproc.kubernetes.api import POLICIES, Api, ApiFailure, NoCredentials, Resource
from tests.kubernetes.control_plane import ControlPlane
from tests.waiting import until

T = TypeVar("T")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def admin(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.admin))
    return control_plane


def run(what: Callable[[Api], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with api.connect() as made:
            return await what(made)

    return asyncio.run(connected())


def policy(namespace: str, name: str = "chat", **spec: Any) -> api.Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata, "spec": spec}


def test_an_object_from_its_creation_to_its_end(admin: ControlPlane, namespace: str) -> None:
    async def live(api: Api) -> None:
        assert await api.get(POLICIES, namespace, "chat") is None
        made = await api.create(POLICIES, policy(namespace, host="a"))
        with pytest.raises(ApiFailure, match="already exists") as twice:
            await api.create(POLICIES, policy(namespace, host="a"))
        assert twice.value.status == 409
        applied = await api.apply(POLICIES, policy(namespace, port=1), "test")
        assert applied["spec"] == {"host": "a", "port": 1}
        with pytest.raises(ApiFailure) as stale:
            await api.replace(POLICIES, made | {"spec": {"host": "b"}})
        assert stale.value.status == 409
        replaced = await api.replace(POLICIES, applied | {"spec": {"host": "b"}})
        assert await api.get(POLICIES, namespace, "chat") == replaced
        with pytest.raises(ApiFailure) as other:
            await api.delete(POLICIES, namespace, "chat", uid="another")
        assert other.value.status == 409
        assert await api.delete(POLICIES, namespace, "chat", uid=made["metadata"]["uid"])
        assert not await api.delete(POLICIES, namespace, "chat")

    run(live)


def test_what_another_has_is_taken_only_by_force(admin: ControlPlane, namespace: str) -> None:
    async def contend(api: Api) -> None:
        await api.apply(POLICIES, policy(namespace, host="a"), "one")
        with pytest.raises(ApiFailure, match="conflict") as refused:
            await api.apply(POLICIES, policy(namespace, host="b"), "two")
        assert refused.value.status == 409
        assert (await api.apply(POLICIES, policy(namespace, host="b"), "two", force=True))["spec"] == {"host": "b"}

    run(contend)


def test_an_unknown_field_is_refused(admin: ControlPlane, namespace: str) -> None:
    async def misspell(api: Api) -> None:
        with pytest.raises(ApiFailure, match=r"hots"):
            await api.apply(POLICIES, wrong, "test")
        with pytest.raises(ApiFailure, match=r"hots"):
            await api.create(POLICIES, wrong)

    wrong = policy(namespace, hots="a")
    run(misspell)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (POLICIES.group, "404: the custom resource definitions are missing: kubectl apply -f istio/crds.yaml"),
        ("example.com", "404: the server has no modelinferencepolicies of example.com/v0"),
    ],
)
def test_a_kind_that_is_not_installed(admin: ControlPlane, group: str, message: str) -> None:
    with pytest.raises(ApiFailure) as failed:
        run(lambda api: api.list(Resource(group, "v0", POLICIES.plural, POLICIES.kind)))
    assert (str(failed.value), failed.value.status) == (message, 404)


def test_a_list_of_several_pages(admin: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_PAGE", 2)

    async def list_all(api: Api) -> list[str]:
        for name in "abcde":
            labelled = policy(namespace, name, models=[name])
            labelled["metadata"]["labels"] = {"odd": "yes" if name in "ace" else "no"}
            await api.create(POLICIES, labelled)
        odd = await api.list(POLICIES, namespace, "odd=yes")
        return [found["metadata"]["name"] for found in [*(await api.list(POLICIES, namespace)).objects, *odd.objects]]

    assert run(list_all) == [*"abcde", *"ace"]


def test_a_watch_tells_what_changes(admin: ControlPlane, namespace: str) -> None:
    async def watch(api: Api) -> list[tuple[str, Any]]:
        listed = await api.list(POLICIES, namespace)
        events = api.watch(POLICIES, namespace, listed.resource_version)
        for port in (1, 2):
            await api.apply(POLICIES, policy(namespace, port=port), "test")
        await api.delete(POLICIES, namespace, "chat")
        found = [await anext(events) for _ in range(3)]
        await events.aclose()
        return [(event.type, event.object["spec"]["port"]) for event in found]

    assert run(watch) == [("ADDED", 1), ("MODIFIED", 2), ("DELETED", 2)]


def test_a_watch_ends_by_itself_with_a_bookmark(
    admin: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "WATCH_SECONDS", 2)

    async def watch(api: Api) -> list[str]:
        listed = await api.list(POLICIES, namespace)
        return [event.type async for event in api.watch(POLICIES, namespace, listed.resource_version)]

    assert set(run(watch)) <= {"BOOKMARK"}


def test_a_watch_from_where_the_server_has_forgotten_the_changes(admin: ControlPlane, namespace: str) -> None:
    async def change(api: Api) -> str:
        listed = await api.list(POLICIES, namespace)
        await api.apply(POLICIES, policy(namespace, port=1), "test")
        return listed.resource_version

    async def watch(api: Api) -> None:
        await anext(api.watch(POLICIES, namespace, seen))

    def failure() -> int:
        with pytest.raises(ApiFailure) as failed:
            run(watch)
        return failed.value.status

    seen = run(change)
    admin.stop_api()
    admin.start_api()
    admin.compact()
    until(lambda: failure() == api.EXPIRED, 60, pause=0.1)  # at first it is not ready for custom resources: 429


def test_a_server_that_is_away_and_one_that_does_not_know_us(
    admin: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def list_policies(api: Api) -> api.Listed:
        return await api.list(POLICIES, namespace)

    stranger = admin.kubeconfig("stranger", {"token": "no such token"})
    monkeypatch.setenv("KUBECONFIG", str(stranger))
    with pytest.raises(ApiFailure, match="401: Unauthorized") as unknown:
        run(list_policies)
    assert unknown.value.status == 401
    text = stranger.read_text().replace(":6443", ":6444")
    (tmp_path / "away").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "away"))
    with pytest.raises(ApiFailure, match="ConnectError") as away:
        run(list_policies)
    assert away.value.status == 0
    for name, content in (("gone", None), ("empty", ""), ("list", "[]"), ("text", "a: b")):
        if content is not None:
            (tmp_path / name).write_text(content)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / name))
        with pytest.raises(NoCredentials):
            run(list_policies)
