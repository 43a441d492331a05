"""Which routes are followed, and for how long."""

from __future__ import annotations

import asyncio
from typing import Any

from extproc.kubernetes.api import Object
from extproc.kubernetes.route_watches import RouteWatches
from tests.unit.kubernetes.fake_api import FakeApi, made


def policy(namespace: str = "ai", **weights_from: Any) -> Object:
    spec = {"weightsFrom": {**weights_from, "backends": {"v1": "a"}}} if weights_from else {}
    return {"metadata": {"name": "chat", "namespace": namespace}, "spec": spec}


def test_nothing_is_asked_until_a_policy_names_a_route() -> None:
    async def follow() -> list[Object]:
        watches = RouteWatches(lambda: None)
        found = watches.follow([policy(), {"metadata": {"name": "x", "namespace": "ai"}, "spec": {"weightsFrom": 5}}])
        assert len(asyncio.all_tasks()) == 1
        await watches.stop()
        return found

    assert asyncio.run(follow()) == []


def test_routes_beside_the_policies_are_followed_and_let_go(fake_api: FakeApi) -> None:
    changed = asyncio.Event()

    async def follow() -> None:
        watches = RouteWatches(changed.set)
        assert watches.follow([policy(httpRoute="chat")]) == []
        async with asyncio.timeout(30):
            while not (found := watches.follow([policy(httpRoute="chat")])):
                await changed.wait()
                changed.clear()
        assert [(one["kind"], one["metadata"]["name"]) for one in found] == [("HTTPRoute", "chat")]
        assert watches.follow([policy("other", virtualService="chat")]) == []
        await watches.stop()
        assert len(asyncio.all_tasks()) == 1

    fake_api.put(made("HTTPRoute", "chat", {}, namespace="ai"))
    asyncio.run(follow())
