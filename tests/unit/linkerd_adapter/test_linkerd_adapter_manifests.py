"""What Linkerd can't do as a policy says is refused, and what is left to its users is told."""

from __future__ import annotations

import pytest
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.manifests import Rendered
from linkerd_adapter.names import Service
from linkerd_adapter.plan import UnrenderableError

from extproc.policy.snapshot import Policy, RetryBudget, Snapshot, Version

APP = (("app", "chat"),)


def render(snapshot: Snapshot) -> Rendered:
    return manifests.render(snapshot, {}, Options(gateway=Service("ai", "inference-gateway")))


REFUSED = [
    (Policy("p", host="models.example.com"), "no Service of a cluster"),
    (Policy("p", host="10.0.0.1"), "no Service of a cluster"),
    (Policy("p", host="chat", versions=(Version("v1"),)), "nothing tells which pods serve it"),
    (Policy("p", host="chat", selector=APP, versions=(Version("v1", 1, ("127.0.0.1:9001",)),)), "no pod reaches"),
    (Policy("p", host="chat", selector=APP, versions=(Version("v1", 1, ("localhost:9001",)),)), "outside the cluster"),
    (Policy("p", host="chat", selector=APP, versions=(Version("v1", 1, ("openai.com:443",)),)), "outside the cluster"),
    (Policy("p", host="inference-gateway.ai"), "is the gateway itself"),
    (Policy("p", host="c", versions=(Version("v1", 1, ("inference-gateway:80",)),)), "is the gateway itself"),
    (
        Policy("p", host="c", selector=(("app.kubernetes.io/name", "inference-gateway"),)),
        "finds the gateway's own pods",
    ),
    (
        Policy("p", host="c", selector=APP, versions=tuple(Version(f"v{n}") for n in range(17))),
        "a rule of an HTTPRoute may have 16",
    ),
]


@pytest.mark.parametrize(("policy", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_linkerd_can_not_do_is_refused(policy: Policy, why: str) -> None:
    with pytest.raises(UnrenderableError, match=why):
        render(Snapshot((policy,)))


def test_the_same_selector_in_another_namespace_finds_no_gateway() -> None:
    elsewhere = Policy("p", "ml", (("app.kubernetes.io/name", "inference-gateway"),), "c.ml")
    assert "Server" in {doc["kind"] for doc in render(Snapshot((elsewhere,))).manifests}


NOTED = [
    (
        Policy("p", "ai", (), "c", retry_budget=RetryBudget(0.2, 10)),
        ["has a selector", "circuit breaking is up to you"],
    ),
    (Policy("p", "ai", APP, "c", versions=(Version("v1", 1, ("vllm.gpus.svc:8000",)),)), ["the pods of vllm.gpus"]),
    (Policy("p", "ai", APP, "c", versions=(Version("v1", 1, ("10.0.0.1:8000",)),)), ["c-v1.ai holds fixed"]),
    (Policy("p", "ai", APP, "c"), []),
]


@pytest.mark.parametrize(("policy", "said"), NOTED)
def test_what_is_not_done_is_told(policy: Policy, said: list[str]) -> None:
    notes = [note for note in render(Snapshot((policy,))).notes if "retry budget" not in note]
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


def test_hosts_that_clash_are_refused() -> None:
    one = Policy("one", "ai", APP, "chat", models=("a",))
    for other, why in (
        (Policy("two", "ai", (("app", "x"),), "chat.ai.svc", models=("b",)), "other selectors"),
        (Policy("two", "ai", APP, "chat.ai", 9090, models=("b",)), "a Service is rendered for one"),
        (Policy("two", "ai", APP, "chat-v1", models=("b",)), ""),
    ):
        if why:
            with pytest.raises(UnrenderableError, match=why):
                render(Snapshot((one, other)))
    clash = Policy("one", "ai", APP, "chat", models=("a",), versions=(Version("v1"),))
    with pytest.raises(UnrenderableError, match="would be declared twice"):
        render(Snapshot((clash, Policy("two", "ai", APP, "chat-v1", models=("b",)))))
