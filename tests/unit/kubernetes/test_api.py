"""What a connection makes of answers that no healthy API server gives (tests/kubernetes has a real one)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from extproc.kubernetes import api
from extproc.kubernetes.api import POLICIES, POOLS, Api, ApiFailure, NoCredentials, Resource
from tests.unit.kubernetes.fake_api import FakeApi, made
from tests.waiting import until

T = TypeVar("T")


def run(what: Callable[[Api], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with api.connect() as found:
            return await what(found)

    return asyncio.run(connected())


@pytest.mark.parametrize(
    ("resource", "place", "path"),
    [
        (POOLS, (), "/apis/ai.istio.io/v1alpha1/gpupools"),
        (POLICIES, ("ai", "chat", "status"), f"{POLICIES.path('ai')}/chat/status"),
        (Resource("", "v1", "pods", "Pod"), ("ai",), "/api/v1/namespaces/ai/pods"),
        (Resource("", "v1", "nodes", "Node", namespaced=False), ("ai", "a"), "/api/v1/nodes/a"),
    ],
)
def test_paths(resource: Resource, place: tuple[str, ...], path: str) -> None:
    assert resource.path(*place) == path


def test_versions_as_objects_have_them() -> None:
    assert (POOLS.api_version, Resource("", "v1", "pods", "Pod").api_version) == ("ai.istio.io/v1alpha1", "v1")


def test_a_list_is_asked_for_with_the_credentials(fake_api: FakeApi) -> None:
    fake_api.put(made("GpuPool", "west", {"product": "a100"}), made("GpuPool", "east", {}, namespace="other"))
    listed = run(lambda api: api.list(POOLS, "ai", labels="a=b"))
    assert ([one["metadata"]["name"] for one in listed.objects], listed.resource_version) == (["west"], "3")
    asked = {"limit": "500", "labelSelector": "a=b", "authorization": "Bearer secret"}
    assert fake_api.requests == [(POOLS.path("ai"), asked)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((503, b"upstream is away\n"), "503: upstream is away"),
        ((502, b""), "502"),
        ((403, b'{"kind": "Status", "message": "gpupools is forbidden"}'), "403: gpupools is forbidden"),
        ((403, b'{"kind": "Status"}'), '403: {"kind": "Status"}'),
        ((200, b"<html>"), "DecodeError: JSON is malformed"),
        ((200, b"[]"), "ValidationError: Expected `object`, got `array`"),
    ],
)
def test_answers_that_are_of_no_use(fake_api: FakeApi, answer: tuple[int, bytes], message: str) -> None:
    fake_api.answer = answer
    with pytest.raises(ApiFailure) as failed:
        run(lambda api: api.list(POOLS))
    assert str(failed.value).startswith(message)
    assert failed.value.status == (0 if answer[0] == 200 else answer[0])


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        (POLICIES, "404: the custom resource definitions are missing: kubectl apply -f istio/crds.yaml"),
        (Resource("a.io", "v1", "things", "Thing"), "404: the server has no things of a.io/v1"),
    ],
)
def test_a_kind_that_the_server_does_not_have(fake_api: FakeApi, resource: Resource, message: str) -> None:
    fake_api.answer = (404, b"404 page not found\n")
    with pytest.raises(ApiFailure) as failed:
        run(lambda api: api.list(resource))
    assert (str(failed.value), failed.value.status) == (message, 404)


async def _watched(api: Api) -> list[str]:
    return [event.type async for event in api.watch(POOLS, "", "1")]


@pytest.mark.parametrize("rest", [b'{"type": "ADD', b"\xff\xfe"])
def test_a_watch_that_breaks_off(fake_api: FakeApi, rest: bytes) -> None:
    async def watch(api: Api) -> None:
        watching = asyncio.ensure_future(_watched(api))
        await asyncio.to_thread(until, lambda: fake_api.watches)
        fake_api.end_watches(rest)
        await watching

    with pytest.raises(ApiFailure, match=r"RemoteProtocolError|DecodeError"):
        run(watch)


def test_a_watch_whose_changes_are_forgotten(fake_api: FakeApi) -> None:
    async def watch(api: Api) -> None:
        watching = asyncio.ensure_future(_watched(api))
        await asyncio.to_thread(until, lambda: fake_api.watches)
        fake_api.tell("GpuPool", {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}})
        await watching

    with pytest.raises(ApiFailure, match="too old") as expired:
        run(watch)
    assert expired.value.status == api.EXPIRED


def test_a_watch_that_is_refused(fake_api: FakeApi) -> None:
    fake_api.answer = (403, b'{"message": "forbidden"}')
    with pytest.raises(ApiFailure, match="403: forbidden"):
        run(_watched)


def test_a_watch_of_a_server_that_fell_silent(fake_api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "WATCH_SECONDS", 0)
    monkeypatch.setattr(api, "TIMEOUT", 0.1)
    with pytest.raises(ApiFailure, match="ReadTimeout"):
        run(_watched)


def test_without_credentials_there_is_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(NoCredentials, match=r"\.kube/config not found"):
        run(_watched)
