"""Names of targets and of their servers."""

from __future__ import annotations

import pytest

from extproc.policy.target import NOWHERE, Target, listed_by_both, united, vacant_clusters
from extproc.policy.upstream import Tls, Upstream


@pytest.mark.parametrize(
    ("version", "pool", "cluster"),
    [("", "", "chat"), ("v1", "", "chat/v1"), ("", "a100", "chat/a100"), ("v1", "a100", "chat/v1/a100")],
)
def test_a_cluster_is_named_by_what_there_is(version: str, pool: str, cluster: str) -> None:
    assert Target("chat", version, pool, ()).cluster == cluster


def test_grpc_has_servers_of_its_own_where_they_are_listed() -> None:
    both = Target("chat", "v1", "", ("a:80",), grpc_endpoints=("a:81",))
    assert (both.servers(grpc=False), both.servers(grpc=True)) == (("a:80",), ("a:81",))
    assert (both.cluster_of(grpc=False), both.cluster_of(grpc=True)) == ("chat/v1", "chat/v1#grpc")
    one = Target("chat", "v1", "", ("a:80",))
    assert (one.servers(grpc=True), one.cluster_of(grpc=True)) == (("a:80",), "chat/v1")


def test_what_both_list_or_whichever_lists_any() -> None:
    assert listed_by_both(("a:1", "b:1"), ("b:1", "c:1")) == ("b:1",)
    assert listed_by_both(("a:1",), ()) == listed_by_both((), ("a:1",)) == ("a:1",)
    assert listed_by_both(("a:1",), ("b:1",)) == ()


def test_servers_have_names_where_they_are_verified() -> None:
    endpoints = ("a.example:443", "b.example:443", "a.example:8443")
    assert Target("chat", "v1", "", endpoints).server_names(grpc=False) == ()
    by_tls = Target("chat", "v1", "", endpoints, Upstream(tls=Tls()), ("c.example:443",))
    assert by_tls.server_names(grpc=False) == ("a.example", "b.example")
    assert by_tls.server_names(grpc=True) == ("c.example",)


@pytest.mark.parametrize(
    ("endpoints", "told"),
    [
        (("10.0.0.1:80", "10.0.0.2:80"), True),
        (("10.0.0.1:80", "[fd00::1]:80"), True),
        (("10.0.0.1:80",), False),
        ((), False),
        (("10.0.0.1:80", "a.example:80"), False),
    ],
)
def test_a_proxy_can_be_told_one_of_several_addresses(endpoints: tuple[str, ...], *, told: bool) -> None:
    assert Target("chat", "v1", "", endpoints).addresses == (endpoints if told else ())


def test_what_is_united_once_is_not_united_again() -> None:
    down, vacant = frozenset({"a/v1", "a/v2"}), frozenset({"a/v2", "b/v1"})
    assert united(down, vacant) == {"a/v1", "a/v2", "b/v1"}
    assert united(down, vacant) is united(frozenset(sorted(down)), vacant)
    assert united(frozenset(), frozenset()) == frozenset()


def test_nobody_is_not_whom_both_mean() -> None:
    assert listed_by_both((NOWHERE,), (NOWHERE,)) == ()
    assert listed_by_both((NOWHERE,), ()) == listed_by_both((), (NOWHERE,)) == (NOWHERE,)


def test_where_nobody_is_there_are_no_servers() -> None:
    nobody = Target("chat", "v1", "", (NOWHERE,), grpc_endpoints=("a:81",))
    assert (nobody.present(grpc=False), nobody.present(grpc=True)) == ((), ("a:81",))
    assert nobody.servers(grpc=False) == (NOWHERE,)
    assert Target("chat", "v1", "", ("a:80", NOWHERE)).present(grpc=False) == ("a:80", NOWHERE)
    gone = Target("chat", "v2", "west", (NOWHERE,)), Target("chat", "v3", "", ("a:80",), grpc_endpoints=(NOWHERE,))
    assert vacant_clusters([nobody, *gone]) == {"chat/v1", "chat/v2/west", "chat/v3#grpc"}
    assert vacant_clusters([Target("chat", "v1", "", ("a:80",))]) == frozenset()
