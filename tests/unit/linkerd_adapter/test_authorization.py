"""Who may call model servers."""

from __future__ import annotations

from typing import Any

from linkerd_adapter import plan
from linkerd_adapter.authorization import authorizations
from linkerd_adapter.names import Service

from extproc.policy.snapshot import Policy, Snapshot

GATEWAY = Service("edge", "gw")
APP = (("app", "chat"),)


def rendered(*policies: Policy, port: int | str | None = None, audit: bool = False) -> list[dict[str, Any]]:
    return list(authorizations(plan.make(Snapshot(policies), "ai"), GATEWAY, port, audit=audit))


def test_the_pods_of_an_apex_admit_the_gateways_account_alone() -> None:
    identity, server, policy = rendered(Policy("chat", "ai", APP, "chat"))
    assert identity["kind"] == "MeshTLSAuthentication"
    assert identity["metadata"] == {"name": "gw", "namespace": "ai"}
    assert identity["spec"] == {"identityRefs": [{"kind": "ServiceAccount", "name": "gw", "namespace": "edge"}]}
    assert server["metadata"] == {"name": "chat", "namespace": "ai"}
    assert server["spec"] == {"podSelector": {"matchLabels": {"app": "chat"}}, "port": 8080, "accessPolicy": "deny"}
    assert policy["metadata"] == {"name": "chat-from-gw", "namespace": "ai"}
    assert policy["spec"] == {
        "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": "chat"},
        "requiredAuthenticationRefs": [
            {"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": "gw", "namespace": "ai"}
        ],
    }


def test_the_port_is_the_one_on_which_pods_listen() -> None:
    for port, wanted in ((None, 8080), (8000, 8000), ("http", "http")):
        assert rendered(Policy("chat", "ai", APP, "chat"), port=port)[1]["spec"]["port"] == wanted


def test_audit_lets_others_pass() -> None:
    assert rendered(Policy("chat", "ai", APP, "chat"), audit=True)[1]["spec"]["accessPolicy"] == "audit"


def test_pods_behind_several_apexes_have_one_server() -> None:
    """Linkerd refuses two Servers for one port of a pod."""
    docs = rendered(
        Policy("a", "ai", APP, "one", models=("a",)),
        Policy("b", "ai", APP, "two", models=("b",)),
        Policy("c", "ml", APP, "three.ml", models=("c",)),
        Policy("d", "ai", APP, "four", 9090, models=("d",)),
    )
    servers = [(d["metadata"]["namespace"], d["metadata"]["name"]) for d in docs if d["kind"] == "Server"]
    assert servers == [("ai", "one"), ("ml", "three"), ("ai", "four")]
    assert [d["metadata"]["namespace"] for d in docs if d["kind"] == "MeshTLSAuthentication"] == ["ai", "ml"]


def test_pods_that_nobody_names_are_not_guarded() -> None:
    assert rendered(Policy("chat", "ai", (), "chat")) == []
