"""What a version says of its servers, and what its pool says."""

from __future__ import annotations

import pytest

from extproc.policy.upstream import PLAIN, Credentials, PathRewrite, Tls, Upstream

MINE = Upstream(Tls("/mine"), PathRewrite("/a"), Credentials("/a"))
POOLS = Upstream(Tls("/pool"), PathRewrite("/b"), Credentials("/b"))


@pytest.mark.parametrize(
    ("version", "pool", "own", "completed"),
    [
        (MINE, POOLS, True, MINE),
        (MINE, PLAIN, False, Upstream(None, MINE.path_rewrite, MINE.credentials)),
        (PLAIN, POOLS, True, Upstream(None, POOLS.path_rewrite, POOLS.credentials)),
        (PLAIN, POOLS, False, POOLS),
    ],
)
def test_tls_goes_with_the_endpoints(version: Upstream, pool: Upstream, own: bool, completed: Upstream) -> None:
    assert version.completed(pool, own_endpoints=own) == completed


@pytest.mark.parametrize(
    ("tls", "endpoint", "name"),
    [
        (Tls(), "a.example:443", "a.example"),
        (Tls(), "a.example.:443", "a.example"),
        (Tls(), "[::1]:443", "::1"),
        (Tls(server_name="b"), "[::1]:443", "b"),
    ],
)
def test_the_name_of_a_server(tls: Tls, endpoint: str, name: str) -> None:
    assert tls.name_of(endpoint) == name
