"""Labels of an exchange: the policy's texts, ``other`` for what is made up, ``none`` for what is not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.apis import NAMES
from extproc.exchange.metric_labels import metric_labels
from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

SNAPSHOT = Snapshot(
    (Policy("chat", models=("llama-*",), versions=(Version("v1"), Version("v2"))), Policy("rest", models=("qwen",))),
    (GpuPool("west", Gpu()),),
)
ROUTED = {"api": "openai", "model": "llama-3", "policy": "chat", "version": "v1", "gpu_pool": "west"}


def test_what_the_policy_names_is_told_by_its_names() -> None:
    assert metric_labels(SNAPSHOT, ROUTED) == ("llama-*", "v1", "west", "openai", "chat")


@pytest.mark.parametrize(
    ("change", "label", "value"),
    [
        ({"model": "made-up"}, "model", "other"),
        ({"model": "qwen"}, "model", "other"),  # another policy's
        ({"version": "v9"}, "version", "other"),
        ({"version": ""}, "version", "none"),
        ({"model": "made-up"}, "version", "v1"),  # of a session, for which the model does not count
        ({"gpu_pool": "moon"}, "gpu_pool", "other"),
        ({"gpu_pool": ""}, "gpu_pool", "none"),
        ({"api": "soap"}, "api", "other"),
        ({"api": ""}, "api", "none"),
        ({"policy": "gone"}, "policy", "other"),
        ({"policy": ""}, "policy", ""),
    ],
)
def test_what_it_does_not_name(change: dict[str, str], label: str, value: str) -> None:
    assert getattr(metric_labels(SNAPSHOT, ROUTED | change), label) == value


def test_nothing_is_known_of_an_exchange_without_metadata() -> None:
    assert metric_labels(SNAPSHOT, {}) == ("other", "none", "none", "none", "")


@given(st.dictionaries(st.sampled_from(list(ROUTED)), st.text(max_size=8) | st.sampled_from(list(ROUTED.values()))))
def test_no_text_of_a_peer_becomes_a_label(metadata: dict[str, str]) -> None:
    labels = metric_labels(SNAPSHOT, metadata)
    known = {"other", "none", "", "llama-*", "qwen", "v1", "v2", "west", "chat", "rest", *NAMES}
    assert set(labels) <= known
