"""Hosts and paths, and routes that are split because of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.target import Target
from extproc.policy.upstream import PLAIN, PathRewrite, Tls, Upstream
from extproc.render.envoy.rewriting import rewriting, split


def target(upstream: Upstream = PLAIN, version: str = "v") -> Target:
    return Target("p", version, "", ("a:1",), upstream)


def test_the_host_is_the_servers_own_where_tls_is_spoken() -> None:
    assert rewriting(target(), grpc=False) == {}
    assert rewriting(target(Upstream(Tls())), grpc=True) == {"auto_host_rewrite": True}


@pytest.mark.parametrize(
    ("rewrite", "before", "after"),
    [
        (PathRewrite("/v1", "/openai/v1"), "/v1/models", "/openai/v1/models"),
        (PathRewrite("/v1", "/openai/v1"), "/v1x/models", "/v1x/models"),
        (PathRewrite("/v1", ""), "/v1/models", "/models"),
        (PathRewrite("", "/api"), "/v1/models", "/api/v1/models"),
        (PathRewrite("/a.b", "/c"), "/axb/d", "/axb/d"),
    ],
)
def test_paths(rewrite: PathRewrite, before: str, after: str) -> None:
    changed = rewriting(target(Upstream(path_rewrite=rewrite)), grpc=False)["regex_rewrite"]
    assert re.sub(changed["pattern"]["regex"], changed["substitution"], before) == after
    assert rewriting(target(Upstream(path_rewrite=rewrite)), grpc=True) == {}


def test_shares_of_one_rewriting_are_one_route() -> None:
    shares = [(target(version="a"), 1), (target(version="b"), 2)]
    assert split(shares, grpc=False) == [({}, shares)]


@given(st.lists(st.integers(1, 1_000_000), min_size=2, max_size=9))
def test_fractions_add_up_to_the_shares(weights: list[int]) -> None:
    """Envoy takes the first route whose fraction exceeds the number that it has drawn, 0 to 999,999."""
    shares = [(target(Upstream(Tls()) if i % 2 else PLAIN, f"v{i}"), weight) for i, weight in enumerate(weights)]
    found = split(shares, grpc=False)
    assert [part for _, part in found] == [[(one, 1)] for one, _ in shares]
    assert found[-1][0] == {}
    bounds = [condition["runtime_fraction"]["default_value"]["numerator"] for condition, _ in found[:-1]]
    drawn = [high - low for low, high in zip([0, *bounds], [*bounds, 1_000_000], strict=True)]
    for millionths, weight in zip(drawn, weights, strict=True):
        assert abs(millionths - 1_000_000 * weight / sum(weights)) <= 1
