"""From policies to apexes, targets and the Services behind them."""

from __future__ import annotations

import pytest
from linkerd_adapter import plan
from linkerd_adapter.names import Service
from linkerd_adapter.plan import Addresses, Backend, Pods, UnrenderableError

from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.target import NOWHERE
from extproc.policy.upstream import Credentials, PathRewrite, Tls, Upstream

APP = (("app", "chat"),)


def chat(*versions: Version, name: str = "chat", host: str = "chat", **more: object) -> Policy:
    return Policy(name, "ai", APP, host, versions=versions, **more)  # type: ignore[arg-type]


def backends(policy: Policy, *pools: GpuPool) -> list[Backend]:
    made = plan.make(Snapshot((policy,), pools), "default")
    return [backend for place in made.places[policy.name] for backend in place.backends]


def test_policies_of_one_host_and_port_share_an_apex() -> None:
    policies = (
        chat(name="a", models=("a",)),
        chat(name="b", models=("b",), host="chat.ai.svc.cluster.local"),
        chat(name="c", models=("c",), host="chat.ml"),
        Policy("d", "", APP, "chat", models=("d",)),
    )
    made = plan.make(Snapshot(policies), "edge")
    assert [(str(apex.service), [p.name for p in apex.policies]) for apex in made.apexes] == [
        ("chat.ai", ["a", "b"]),
        ("chat.ml", ["c"]),
        ("chat.edge", ["d"]),
    ]
    assert made.apex_of(policies[1]) == made.apexes[0]
    assert made.apexes[0].address == "chat.ai.svc.cluster.local:8080"
    assert plan.namespaces(Snapshot(policies), "edge") == {"ai", "ml", "edge"}


def test_grpc_has_services_of_its_own_and_never_those_of_every_version() -> None:
    listed = chat(Version("v1", grpc_endpoints=("v1-grpc:81", "10.0.0.1:81")))
    (place,) = plan.make(Snapshot((listed,)), "ai").places["chat"]
    assert place.serving(grpc=False) == (Backend(Service("ai", "chat-v1"), 8080, 1, Pods((*APP, ("version", "v1")))),)
    assert place.serving(grpc=True) == (
        Backend(Service("ai", "v1-grpc"), 81),
        Backend(Service("ai", "chat-v1-grpc"), 8080, 1, Addresses((("10.0.0.1", 81),))),
    )
    with pytest.raises(UnrenderableError, match=r"chat\.ai\.svc:81 is chat\.ai, which has the pods of every version"):
        plan.make(Snapshot((chat(Version("v1", grpc_endpoints=("chat.ai.svc:81",))),)), "ai")


def test_the_domain_of_the_cluster_is_that_of_the_host() -> None:
    (apex,) = plan.make(Snapshot((chat(host="chat.ai.svc.k8s.example"),)), "ai").apexes
    assert apex.address == "chat.ai.svc.k8s.example:8080"


def test_every_problem_is_told_at_once() -> None:
    policies = (
        chat(name="a", host="api.example.com", models=("a",)),
        chat(name="b", host="x.ai", port=80, models=("b",)),
        chat(name="c", host="x.ai", port=81, models=("c",)),
    )
    with pytest.raises(UnrenderableError) as refused:
        plan.make(Snapshot(policies), "ai")
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["policy a", "policies b", "policies c"]
    assert "has the ports [80, 81]" in lines[1]


def test_a_policy_without_versions_is_served_by_its_apex() -> None:
    policy = chat()
    made = plan.make(Snapshot((policy,)), "ai")
    assert backends(policy) == [Backend(Service("ai", "chat"), 8080)]
    assert made.declares(made.apexes[0])
    unlabelled = Policy("chat", "ai", (), "chat")
    made = plan.make(Snapshot((unlabelled,)), "ai")
    assert not made.declares(made.apexes[0]), "its pods are unknown, and it has to have some"
    addressed = Policy("chat", "ai", (), "chat", versions=(Version("v1", 1, ("10.0.0.1:80",)),))
    made = plan.make(Snapshot((addressed,)), "ai")
    assert made.declares(made.apexes[0]), "all pods are behind the version's Service"


def test_versions_and_pools_are_selected_by_labels() -> None:
    assert backends(chat(Version("v1"), Version("v2"))) == [
        Backend(Service("ai", f"chat-{v}"), 8080, 1, Pods((*APP, ("version", v)))) for v in ("v1", "v2")
    ]
    pools = (GpuPool("a", describe("NVIDIA-A100-SXM4-80GB")), GpuPool("b", describe("NVIDIA-H100-80GB-HBM3")))
    found = backends(chat(Version("v1"), gpu=Requirement()), *pools)
    assert [str(backend.service) for backend in found] == ["chat-v1-a.ai", "chat-v1-b.ai"]
    assert all(isinstance(b.behind, Pods) and len(b.behind.labels) == 3 for b in found)


def test_names_have_the_policy_in_them_where_an_apex_has_several() -> None:
    policies = (chat(Version("v1"), name="a", models=("a",)), chat(Version("v1"), name="b", models=("b",)))
    made = plan.make(Snapshot(policies), "ai")
    assert [str(b.service) for p in made.places.values() for b in p[0].backends] == ["chat-a-v1.ai", "chat-b-v1.ai"]


def test_endpoints_are_services_or_addresses() -> None:
    found = backends(chat(Version("v1", 1, ("10.0.0.1:80", "vllm.gpus.svc:8000", "[fd00::1]:81", "tgi:90"))))
    assert found == [
        Backend(Service("gpus", "vllm"), 8000),
        Backend(Service("ai", "tgi"), 90),
        Backend(Service("ai", "chat-v1"), 8080, 2, Addresses((("10.0.0.1", 80), ("fd00::1", 81)))),
    ]


@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "[::1]:80", "0.0.0.0:80", "localhost:80", "openai.com:443"])
def test_endpoints_that_no_pod_reaches_are_refused(endpoint: str) -> None:
    with pytest.raises(UnrenderableError, match="policy chat, version v1: "):
        backends(chat(Version("v1", 1, (endpoint,))))


@pytest.mark.parametrize(
    "upstream",
    [Upstream(Tls()), Upstream(path_rewrite=PathRewrite("/v1")), Upstream(credentials=Credentials("/key"))],
)
def test_linkerd_speaks_no_tls_changes_no_path_and_adds_no_key(upstream: Upstream) -> None:
    with pytest.raises(UnrenderableError, match="version v1: Linkerd's proxies speak no TLS but their own"):
        backends(chat(Version("v1", 1, ("10.0.0.1:443",), upstream=upstream)))


def test_a_version_without_servers_is_a_service_without_endpoints() -> None:
    nobody = chat(Version("v1", endpoints=("10.0.0.1:80",)), Version("v2", endpoints=(NOWHERE,)))
    assert backends(nobody)[1] == Backend(Service("ai", "chat-v2"), 8080, 1, Addresses(()))
