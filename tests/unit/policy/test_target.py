"""Names of targets and of their servers."""

from __future__ import annotations

import pytest

from extproc.policy.target import Target
from extproc.policy.upstream import Tls, Upstream


@pytest.mark.parametrize(
    ("version", "pool", "cluster"),
    [("", "", "chat"), ("v1", "", "chat/v1"), ("", "a100", "chat/a100"), ("v1", "a100", "chat/v1/a100")],
)
def test_a_cluster_is_named_by_what_there_is(version: str, pool: str, cluster: str) -> None:
    assert Target("chat", version, pool, ()).cluster == cluster


def test_servers_have_names_where_they_are_verified() -> None:
    endpoints = ("a.example:443", "b.example:443", "a.example:8443")
    assert Target("chat", "v1", "", endpoints).server_names == ()
    assert Target("chat", "v1", "", endpoints, Upstream(tls=Tls())).server_names == ("a.example", "b.example")
