"""When a mutation makes Envoy choose the route anew."""

from __future__ import annotations

import pytest

from extproc.envoy.actions import NO_MUTATION, Mutation


@pytest.mark.parametrize(
    ("mutation", "clears"),
    [
        (NO_MUTATION, False),
        (Mutation(metadata=(("model", "llama"),)), False),
        (Mutation(set=(("x-model-name", "llama"),)), True),
        (Mutation(remove=("x-model-name",)), True),
    ],
)
def test_only_a_change_of_headers_clears_the_route(mutation: Mutation, clears: bool) -> None:
    assert mutation.clear_route_cache is clears
