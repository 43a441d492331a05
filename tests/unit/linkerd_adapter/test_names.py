"""Which Service a host means, and names that Kubernetes takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter.names import Service, label, service_of_host


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("chat", (Service("ai", "chat"), "cluster.local")),
        ("chat.ml", (Service("ml", "chat"), "cluster.local")),
        ("chat.ml.svc", (Service("ml", "chat"), "cluster.local")),
        ("chat.ml.svc.cluster.local.", (Service("ml", "chat"), "cluster.local")),
        ("chat.ml.svc.k8s.example", (Service("ml", "chat"), "k8s.example")),
        ("api.example.com", None),
        ("10.0.0.1", None),
        ("[fd00::1]", None),
        ("1chat", None),
        ("a_b.ai", None),
        ("", None),
    ],
)
def test_what_a_host_means(host: str, found: tuple[Service, str] | None) -> None:
    assert service_of_host(host, "ai") == found
    if found:
        assert service_of_host(found[0].host(found[1]), "elsewhere") == found


def test_names_that_fit_stay() -> None:
    assert label("chat", "", "v1") == "chat-v1"
    assert re.fullmatch(r"chat-v1-2-[0-9a-f]{8}", label("chat", "v1.2"))
    assert label("chat", "V1") != label("chat", "v1")
    assert re.fullmatch(r"s-1-[0-9a-f]{8}", label("1"))


@given(st.lists(st.text(max_size=40), min_size=1, max_size=3), st.lists(st.text(max_size=40), min_size=1, max_size=3))
def test_every_name_is_one_that_kubernetes_takes_and_no_two_are_one(one: list[str], other: list[str]) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", label(*one))
    if "-".join(filter(None, one)) != "-".join(filter(None, other)):
        assert label(*one) != label(*other)
