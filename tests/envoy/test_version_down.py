"""While a version is down another one answers its users, and says so; they come back when it does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from extproc.doctor import unused_servers
from extproc.doctor.envoy_dump import Evidence
from extproc.lint.findings import Finding
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version
from extproc.serve.reachability_feed import ReachabilityFeed
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy


def test_users_are_served_by_another_version_and_come_back(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> None:
    (v2,) = servers("v2")
    with ModelServer("v1") as v1:
        address, port = v1.address, v1.server_address[1]
        versions = Version("v1", 1, (address,)), Version("v2", 1, (v2.address,))
        snapshot = Snapshot(
            tuple(
                Policy(name, models=(name,), versions=versions, sticky=Sticky(header="x-user"), fails_over=moves)
                for name, moves in (("moving", True), ("staying", False))
            )
        )
        started = processor(snapshot)
        feed = ReachabilityFeed(lambda: snapshot, started.loads, started.metrics.count_error, interval=0.02)
        feed.start()
        envoy = gateway(snapshot, started.address)
        homes = {user: envoy.ask("moving", x_user=user).text for user in map(str, range(20))}
    try:
        assert set(homes.values()) == {"v1", "v2"}
        until(lambda: started.loads.down == {"moving/v1", "staying/v1"})
        for user in homes:
            answer = envoy.ask("moving", x_user=user)
            assert (answer.status, answer.text, answer.headers["x-model-version"]) == (200, "v2", "v2")
        cohorts = [envoy.logged(len(homes) + number)["cohort"] for number in range(len(homes))]
        assert cohorts == ["failover" if home == "v1" else "sticky" for home in homes.values()]
        moved = list(homes.values()).count("v1")
        until(lambda: started.metrics._counters["inference_failovers"] == {("moving", "v2", "none"): moved})

        strict = [user for user in map(str, range(20)) if envoy.ask("staying", x_user=user).status == 503]
        assert strict
        assert [one.path for one in findings(envoy)] == [f"cluster staying/v1, server {address}"]

        with ModelServer("v1", port):
            until(lambda: not started.loads.down)
            assert {user: envoy.ask("moving", x_user=user).text for user in homes} == homes
    finally:
        feed.stop()


def findings(envoy: Gateway) -> list[Finding]:
    """What the doctor says of the servers of this Envoy."""
    dump, clusters = (json.loads(envoy.envoy.ask(path)[1]) for path in ("/config_dump", "/clusters?format=json"))
    return list(unused_servers.check(Evidence(dump, clusters), "envoy"))
