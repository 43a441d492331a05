"""Which routes are followed, and for how long."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import yaml

from extproc.kubernetes import object_watch, route_watches
from extproc.kubernetes.api import Object
from extproc.kubernetes.route_watches import RouteWatches
from tests.unit.kubernetes.fake_api import FakeApi, made


def policy(namespace: str = "ai", **weights_from: Any) -> Object:
    spec = {"weightsFrom": {**weights_from, "backends": {"v1": "a"}}} if weights_from else {}
    return {"metadata": {"name": "chat", "namespace": namespace}, "spec": spec}


def test_nothing_is_asked_until_a_policy_names_a_route() -> None:
    async def follow() -> list[Object]:
        watches = RouteWatches(lambda: None)
        wrong = {"metadata": {"name": "x", "namespace": "ai"}, "spec": {"weightsFrom": 5}}
        found = await watches.follow([policy(), wrong])
        assert len(asyncio.all_tasks()) == 1
        await watches.stop()
        return found

    assert asyncio.run(follow()) == []


def test_routes_beside_the_policies_are_followed_and_let_go(fake_api: FakeApi) -> None:
    """The first answer has them: nobody is told that a route is not there which was not asked for yet."""
    changes = []

    async def follow() -> None:
        watches = RouteWatches(lambda: changes.append(1))
        found = await watches.follow([policy(httpRoute="chat")])
        assert [(one["kind"], one["metadata"]["name"]) for one in found] == [("HTTPRoute", "chat")]
        fake_api.put(made("HTTPRoute", "other", {}))
        async with asyncio.timeout(30):
            while len(await watches.follow([policy(httpRoute="chat")])) < 2:
                await asyncio.sleep(0)
        assert changes
        assert await watches.follow([policy("other", virtualService="chat")]) == []
        await watches.stop()
        assert len(asyncio.all_tasks()) == 1

    fake_api.put(made("HTTPRoute", "chat", {}))
    asyncio.run(follow())


def test_kinds_that_are_not_there_hold_nothing_up(fake_api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_watches, "FIRST_LIST", 600)
    fake_api.answer = (404, b"{}")

    async def follow() -> list[Object]:
        watches = RouteWatches(lambda: None)
        async with asyncio.timeout(30):
            found = await watches.follow([policy(httpRoute="chat"), policy("other", virtualService="chat")])
        await watches.stop()
        return found

    assert asyncio.run(follow()) == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_can_not_answer_at_first_is_waited_for(
    status: int, fake_api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a new policy would begin with other weights than the route has."""
    monkeypatch.setattr(route_watches, "FIRST_LIST", 600)
    monkeypatch.setattr(object_watch, "FIRST_PAUSE", 0.01)
    fake_api.put(made("HTTPRoute", "chat", {}))
    fake_api.answer = (status, b"{}")

    async def heal() -> None:
        while len(fake_api.requests) < 2:
            await asyncio.sleep(0.001)
        fake_api.answer = None

    async def follow() -> list[Object]:
        watches, healing = RouteWatches(lambda: None), asyncio.create_task(heal())
        async with asyncio.timeout(30):
            found = await watches.follow([policy(httpRoute="chat")])
            await healing
        await watches.stop()
        return found

    assert [one["metadata"]["name"] for one in asyncio.run(follow())] == ["chat"]


def test_a_silent_server_is_waited_for_once(fake_api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a route in one more namespace does not hold up the others again."""
    monkeypatch.setattr(route_watches, "FIRST_LIST", 0.05)
    silent = socket.create_server(("127.0.0.1", 0))
    kubeconfig = yaml.safe_load(fake_api.kubeconfig.read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
    fake_api.kubeconfig.write_text(yaml.safe_dump(kubeconfig))

    async def follow() -> None:
        watches = RouteWatches(lambda: None)
        assert await watches.follow([policy(httpRoute="chat")]) == []
        monkeypatch.setattr(route_watches, "FIRST_LIST", 600)
        async with asyncio.timeout(30):
            assert await watches.follow([policy(httpRoute="chat"), policy("other", httpRoute="chat")]) == []
        await watches.stop()

    with silent:
        asyncio.run(follow())
