"""Headers of clients that are removed, and pins that stay."""

from __future__ import annotations

import pytest

from extproc import headers
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.envoy.client_headers import strip_client_headers
from tests.unit.render.snapshots import policy


@pytest.mark.parametrize("pin", [True, False])
def test_client_headers_are_removed_but_for_an_allowed_pin(pin: bool) -> None:
    snapshot = Snapshot((policy(), Policy("b", models=("b",), allow_pin=pin)))
    mutations = strip_client_headers(snapshot, "x-envoy-")["typed_config"]["mutations"]
    assert [one["remove"] for one in mutations[:-1]] == [
        name for name in headers.DROPPED if name != "x-model-version" or not pin
    ]
    assert mutations[-1] == {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}
    assert len(strip_client_headers(snapshot)["typed_config"]["mutations"]) == len(mutations) - 1
