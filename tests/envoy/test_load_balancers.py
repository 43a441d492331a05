"""How a version's requests are spread over its servers: by the hash of a header, by lot, in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from extproc.policy.load_balancer import LEAST_REQUEST, LoadBalancer
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version

from .conftest import Gateway, ModelServer, Processor, say

pytestmark = pytest.mark.envoy

USERS = [f"user-{number}" for number in range(40)]
BY_USER = LoadBalancer("consistentHash", "x-user-id")


def test_a_user_stays_on_a_server_and_one_that_leaves_moves_only_its_own(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> None:
    staying = servers("a", "b", "c")
    with ModelServer("d") as leaving:
        leaving.then = say(b"d", connection="close")  # else Envoy keeps connections to it
        versions = (Version("v1", 1, tuple(server.address for server in (*staying, leaving))),)
        snapshot = Snapshot((Policy("chat", versions=versions, sticky=Sticky("x-user-id"), load_balancer=BY_USER),))
        envoy = gateway(snapshot, processor(snapshot).address, message_timeout=20.0)
        before = {user: envoy.ask("llama", x_user_id=user).text for user in USERS}
        assert {user: envoy.ask("llama", x_user_id=user).text for user in USERS} == before
        assert set(before.values()) == {"a", "b", "c", "d"}
    after = {user: envoy.ask("llama", x_user_id=user).text for user in USERS}
    stayed = [user for user, home in before.items() if home != "d"]
    # Of Maglev's table, a slot of another server may change hands as well, in a few of a thousand.
    assert sum(after[user] != before[user] for user in stayed) <= 1
    moved = {home for user, home in after.items() if user not in stayed}
    assert len(moved) > 1
    assert moved <= {"a", "b", "c"}


def test_other_words_spread_a_user_over_all(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> None:
    versions = (Version("v1", 1, tuple(server.address for server in servers("a", "b", "c"))),)
    balancers = {"turn": LoadBalancer("roundRobin"), "lot": LoadBalancer("random"), "least": LEAST_REQUEST}
    snapshot = Snapshot(
        tuple(
            Policy(name, models=(name,), versions=versions, load_balancer=balancer)
            for name, balancer in balancers.items()
        )
    )
    envoy = gateway(snapshot, processor(snapshot).address, message_timeout=20.0)
    found = {name: Counter(envoy.ask(name, x_user_id="one").text for _ in range(30)) for name in balancers}
    assert {name: set(servers) for name, servers in found.items()} == {name: {"a", "b", "c"} for name in balancers}
    # Each worker thread of Envoy takes its turns by itself.
    assert max(found["turn"].values()) - min(found["turn"].values()) < 10


def test_clusters_of_one_route_hash_by_headers_of_their_own(
    servers: Callable[..., list[ModelServer]], gateway: Callable[..., Gateway]
) -> None:
    """Without a processor one route leads to both versions: each keeps a value of its own header on one server."""
    addresses = [server.address for server in servers("1a", "1b", "1c", "2a", "2b", "2c")]
    versions = (
        Version("v1", 1, tuple(addresses[:3]), load_balancer=BY_USER),
        Version("v2", 1, tuple(addresses[3:]), load_balancer=LoadBalancer("consistentHash", "x-team")),
    )
    envoy = gateway(Snapshot((Policy("chat", versions=versions),)), "127.0.0.1:1")
    found = [(n % 5, n % 7, envoy.ask("llama", x_user_id=str(n % 5), x_team=str(n % 7)).text) for n in range(70)]
    by_user = {(user, text) for user, _, text in found if text.startswith("1")}
    by_team = {(team, text) for _, team, text in found if text.startswith("2")}
    assert 1 < len(by_user) == len({user for user, _ in by_user})
    assert 1 < len(by_team) == len({team for team, _ in by_team})
