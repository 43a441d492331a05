"""All manifests together: what Linkerd can't do is refused, what is left to users is noted, files keep their order."""

from __future__ import annotations

import pytest
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.manifests import Rendered
from linkerd_adapter.names import Service
from linkerd_adapter.plan import UnrenderableError

from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.picking import Picking
from extproc.policy.rollout_plan import RolloutPlan
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
    (
        Policy("p", "ai", APP, "c", versions=(Version("v1"), Version("v2", 0)), rollout=RolloutPlan("v2", ())),
        ["without the controller v2 gets nothing"],
    ),
    (Policy("p", "ai", APP, "c"), []),
    (Policy("p", "ai", APP, "c", load_balancer=LoadBalancer("consistentHash", "x-user")), ["no consistentHash x-user"]),
    (Policy("p", "ai", APP, "c", picking=Picking()), ["which server was picked"]),
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


def test_policies_travel_as_they_are_written_and_in_their_order() -> None:
    found = manifests.files({"b/policy.yaml": "1", "a/policy.yaml": "2", "../Ä.yml": "3", "stdin": "4"})
    assert list(found.values()) == ["1", "2", "3", "4"]
    assert sorted(found) == list(found)
    assert manifests.files({"/etc/x/chat.yaml": "1"}) == {"chat.yaml": "1"}


def test_files_that_a_config_map_can_name() -> None:
    assert manifests.files({"stdin": "1"}) == {"stdin.yaml": "1"}
    assert manifests.files({"/.": "1"}) == {"policy.yaml": "1"}
    assert manifests.files({"rollouts.json": "{}", "a": "1"}) == {"rollouts.json": "{}", "a.yaml": "1"}
    many = manifests.files({f"{number}.yml": "" for number in range(11)})
    assert list(many) == sorted(many) == [f"{number:02}-{number}.yml" for number in range(11)]


def test_where_the_gateway_is() -> None:
    def of(*namespaces: str) -> str:
        policies = (Policy(f"p{n}", namespace, APP, "c", models=(f"m{n}",)) for n, namespace in enumerate(namespaces))
        return manifests.namespace(Snapshot(tuple(policies)))

    assert of("ai", "ai") == "ai"
    assert of("") == "default"
    with pytest.raises(UnrenderableError, match="ai and ml; say with --namespace"):
        of("ai", "ml")


def test_services_come_before_routes_and_the_gateway_last() -> None:
    kinds = [
        doc["kind"] for doc in render(Snapshot((Policy("p", "ai", APP, "c", versions=(Version("v1"),)),))).manifests
    ]
    assert kinds[:3] == ["Service", "Service", "HTTPRoute"]
    assert kinds.index("Server") < kinds.index("ServiceAccount") < kinds.index("Deployment")


def test_h2c_is_noted_since_websockets_do_not_pass() -> None:
    options = Options(gateway=Service("ai", "gw"), app_protocol="kubernetes.io/h2c")
    notes = manifests.render(Snapshot((Policy("p", "ai", APP, "c"),)), {}, options).notes
    assert [note for note in notes if "WebSockets" in note] == list(notes)
