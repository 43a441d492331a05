"""Attributes that Envoy has."""

from __future__ import annotations

import pytest

from extproc.lint import envoy_attributes


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (("request", "headers", "x"), True),
        (("filter_state", "anything"), True),
        (("xds", "route_name"), True),
        (("request", "model"), False),
        (("upstream_peer", "labels"), False),
    ],
)
def test_attributes_that_envoy_has(path: envoy_attributes.Path, known: bool) -> None:
    assert envoy_attributes.known(path) is known
