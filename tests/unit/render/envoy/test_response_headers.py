"""Headers that clients get with an answer."""

from __future__ import annotations

from extproc.render.envoy.response_headers import response_headers


def test_clients_are_told_by_our_headers_alone() -> None:
    found = response_headers()
    names = ["server-timing", "x-model-name", "x-model-version", "x-gpu-pool", "x-model-cohort"]
    assert found["response_headers_to_remove"] == names
    added = {one["header"]["key"]: one for one in found["response_headers_to_add"]}
    assert list(added) == names
    assert added["x-gpu-pool"]["header"]["value"] == "%REQ(x-gpu-pool)%"
    assert {one["append_action"] for one in added.values()} == {"OVERWRITE_IF_EXISTS_OR_ADD"}
