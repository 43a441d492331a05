"""`extproc controller` on a real API server: objects as rendered, status, conflicts, drift, leaders."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from extproc.kubernetes.mesh_objects import Key
from tests.house.tree import ROOT
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, delete_live, live, rendered, same, versions
from tests.kubernetes.processor import ClusterProcessor
from tests.manifests.crds import FOLDER, needed
from tests.policy_documents import load_texts
from tests.waiting import until

pytestmark = [needed, pytest.mark.timeout(300)]
PATIENCE = 60


@pytest.fixture
def istio(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server with Istio's CRDs."""
    control_plane.kubectl("apply", "--server-side", "-f", str(next(FOLDER.glob("istio-*.yaml"))))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    yield control_plane
    delete_live(control_plane)


@pytest.fixture
def controller(istio: ControlPlane, namespace: str) -> Iterator[ControllerProcess]:
    with ControllerProcess(istio, namespace) as made:
        yield made
        # Nothing that controllers made is left to the next test.
        istio.kubectl("delete", "mip,gpupools", "--all", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)


def policy(namespace: str, name: str = "chat", **spec: Any) -> dict[str, Any]:
    head = {"apiVersion": "ai.istio.io/v1alpha1", "kind": "ModelInferencePolicy"}
    return {**head, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def status(control_plane: ControlPlane, namespace: str, name: str = "chat", kind: str = "mip") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(control_plane.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
    return dict(found.get("status", {}))


def conditions(control_plane: ControlPlane, namespace: str, name: str = "chat") -> dict[str, tuple[str, str, str]]:
    found = status(control_plane, namespace, name).get("conditions", ())
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in found}


def in_force(control_plane: ControlPlane, namespace: str, name: str = "chat") -> Any:
    return status(control_plane, namespace, name).get("inForce", {}).get("spec")


def waits_for(control_plane: ControlPlane, namespace: str, name: str = "chat") -> None:
    control_plane.kubectl("wait", "--for=condition=Programmed", "--timeout=60s", "mip", name, "-n", namespace)


def wanted(*policies: dict[str, Any]) -> Callable[[ControlPlane], bool]:
    snapshot = load_texts([(f"{i}.yaml", yaml.safe_dump(each)) for i, each in enumerate(policies)]).snapshot
    return lambda control_plane: same(live(control_plane), rendered(snapshot))


def test_the_articles_policy_is_accepted_and_programmed(
    istio: ControlPlane, namespace: str, controller: ControllerProcess
) -> None:
    text = (ROOT / "istio" / "examples" / "model-inference-policy.yaml").read_text()
    istio.kubectl("apply", "-n", namespace, "-f", "-", input=text)
    (document,) = yaml.safe_load_all(text)
    name = document["metadata"]["name"]
    waits_for(istio, namespace, name)
    found = conditions(istio, namespace, name)
    assert found["Accepted"][:2] == ("True", "Accepted")
    assert found["ResolvedRefs"][:2] == ("False", "ServiceNotFound")
    assert status(istio, namespace, name)["inForce"]["spec"] == document["spec"]
    assert wanted(policy(namespace, name, **document["spec"]))(istio)
    columns = istio.kubectl("get", "mip", name, "-n", namespace).split("\n")
    assert columns[0].split() == ["NAME", "MODELS", "VERSIONS", "ACCEPTED", "RESOLVED", "PROGRAMMED", "AGE"]
    assert columns[1].split()[1:4] == ["True", "False", "True"]
    events = istio.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].reason}").split()
    assert sorted(events) == ["Programmed", "ServiceNotFound"]


def test_a_second_pass_writes_nothing(istio: ControlPlane, namespace: str, controller: ControllerProcess) -> None:
    chat = policy(namespace, models=["a"], versions=[{"name": "v1", "weight": 9}, {"name": "v2", "weight": 1}])
    istio.apply(chat)
    waits_for(istio, namespace)
    until(lambda: wanted(chat)(istio), PATIENCE)
    before = versions(live(istio)), json.loads(istio.kubectl("get", "mip", "chat", "-n", namespace, "-o", "json"))
    istio.apply(policy(namespace, "other", models=["b"], host="other"))
    waits_for(istio, namespace, "other")
    after = json.loads(istio.kubectl("get", "mip", "chat", "-n", namespace, "-o", "json"))
    mine = {key: version for key, version in versions(live(istio)).items() if key in before[0] and "chat" in key.name}
    assert mine == {key: version for key, version in before[0].items() if "chat" in key.name}
    assert after == before[1]


def test_changes_go_through_the_mesh_and_a_deletion_leaves_nothing(
    istio: ControlPlane, namespace: str, controller: ControllerProcess
) -> None:
    for spec in (
        {"versions": [{"name": "v1"}]},
        {"versions": [{"name": "v1", "weight": 1}, {"name": "v2", "weight": 3}]},
        {"versions": [{"name": "v2", "endpoints": ["10.0.0.1:80"]}], "sticky": {"header": "x-user"}},
        {"host": "elsewhere", "versions": [{"name": "v2"}]},
    ):
        chat = policy(namespace, models=["a"], **spec)
        istio.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))
        until(lambda chat=chat: wanted(chat)(istio), PATIENCE)  # type: ignore[misc]
        until(lambda chat=chat: in_force(istio, namespace) == chat["spec"], PATIENCE)  # type: ignore[misc]
    istio.kubectl("delete", "mip", "chat", "-n", namespace)
    until(lambda: not live(istio), PATIENCE)


def test_a_bad_spec_leaves_what_was_in_force(
    istio: ControlPlane, namespace: str, controller: ControllerProcess
) -> None:
    good = policy(namespace, models=["a"])
    istio.apply(good)
    waits_for(istio, namespace)
    bad = policy(namespace, models=["a"], sticky={"body": "/~1"}, gpuRequirements={"minMemory": "1k"})
    istio.kubectl("apply", "-f", "-", input=yaml.safe_dump(bad))
    until(lambda: conditions(istio, namespace)["Accepted"][0] == "False", PATIENCE)
    found = conditions(istio, namespace)
    assert found["Accepted"][1] == "Invalid"
    assert found["Accepted"][2].startswith("spec.gpuRequirements.minMemory: ")
    assert found["Programmed"] == ("False", "NotAccepted", "what was in force stays")
    assert status(istio, namespace)["inForce"] == {"generation": 1, "spec": good["spec"]}
    assert wanted(good)(istio)


def test_of_two_that_want_the_same_the_newer_waits(
    istio: ControlPlane, namespace: str, controller: ControllerProcess
) -> None:
    istio.apply(policy(namespace, "a-first", models=["a"]))
    waits_for(istio, namespace, "a-first")
    istio.apply(policy(namespace, "b-second", models=["a", "b"]))
    until(lambda: "Accepted" in conditions(istio, namespace, "b-second"), PATIENCE)
    found = conditions(istio, namespace, "b-second")
    assert found["Accepted"][:2] == ("False", "Conflicted")
    assert f"are the policy {namespace}/a-first's, which is older" in found["Accepted"][2]
    assert found["Programmed"] == ("False", "NotAccepted", "nothing of it is in force")
    assert "inForce" not in status(istio, namespace, "b-second")
    istio.kubectl("delete", "mip", "a-first", "-n", namespace)
    waits_for(istio, namespace, "b-second")


def virtual_service(namespace: str) -> Key:
    return Key("networking.istio.io", "VirtualService", namespace, f"aimesh-chat-{namespace}")


def test_what_is_edited_by_hand_is_put_right_and_what_another_applies_is_not(
    istio: ControlPlane, namespace: str, controller: ControllerProcess
) -> None:
    chat = policy(namespace, models=["a"], versions=[{"name": "v1"}])
    istio.apply(chat)
    waits_for(istio, namespace)
    until(lambda: wanted(chat)(istio), PATIENCE)
    name = virtual_service(namespace).name
    istio.kubectl("patch", "vs", name, "-n", namespace, "--type=merge", "-p", '{"spec": {"hosts": ["wrong"]}}')
    istio.kubectl("delete", "destinationrule", "--all", "-n", namespace)
    until(lambda: wanted(chat)(istio), 30)
    taken: dict[str, Any] = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
    taken |= {"metadata": {"name": name, "namespace": namespace}, "spec": {"hosts": ["theirs"]}}
    istio.kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-", input=yaml.safe_dump(taken)
    )
    until(lambda: conditions(istio, namespace)["Programmed"][0] == "False", PATIENCE)
    found = conditions(istio, namespace)["Programmed"]
    assert found[1] == "NotWritten"
    assert f"VirtualService {namespace}/{name}" in found[2]
    assert 'conflict with "other"' in found[2]
    assert live(istio)[virtual_service(namespace)]["spec"]["hosts"] == ["theirs"]
    assert in_force(istio, namespace) == chat["spec"]
    istio.kubectl("delete", "mip", "chat", "-n", namespace)
    until(lambda: not live(istio), PATIENCE)
    left = istio.kubectl("get", "vs", name, "-n", namespace, "-o", "jsonpath={.spec}")
    assert json.loads(left) == {"hosts": ["theirs"]}


def test_an_object_of_somebody_elses_is_not_touched(
    istio: ControlPlane, namespace: str, controller: ControllerProcess
) -> None:
    theirs = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "spec": {"host": "theirs"}}
    theirs["metadata"] = {"name": f"aimesh-chat-{namespace}", "namespace": namespace}
    istio.apply(theirs)
    istio.apply(policy(namespace, models=["a"]), policy(namespace, "other", models=["b"], host="other"))
    waits_for(istio, namespace, "other")
    until(lambda: "Programmed" in conditions(istio, namespace), PATIENCE)
    found = conditions(istio, namespace)["Programmed"]
    assert found[:2] == ("False", "NotWritten")
    assert "is there, and not the controller's; delete it, or label it ai.istio.io/controller=istio" in found[2]
    istio.kubectl("delete", "destinationrule", "--all", "-n", namespace)
    waits_for(istio, namespace)


def test_a_pool_serves_other_namespaces_where_it_says_so(istio: ControlPlane, namespace: str) -> None:
    other = f"{namespace}-other"
    istio.kubectl("create", "namespace", other)
    versions = [{"name": "v1", "gpuPools": ["west"]}]
    chat = policy(other, models=["a"], versions=versions, gpuRequirements={"architecture": "a100"})
    west = {**policy(namespace, "west", product="NVIDIA-A100-SXM4-80GB"), "kind": "GpuPool"}
    with (
        ControllerProcess(istio, namespace, "--namespace", other),
        ClusterProcessor(istio.admin, "--namespace", namespace, "--namespace", other) as processor,
    ):
        istio.apply(west, chat)
        until(lambda: "Accepted" in conditions(istio, other), PATIENCE)
        status_, reason, message = conditions(istio, other)["Accepted"]
        assert (status_, reason) == ("False", "Invalid")
        assert "spec.versions[0].gpuPools[0]: the pool west is of the namespace" in message
        west["spec"]["allowedNamespaces"] = [other]
        istio.apply(west)
        waits_for(istio, other)
        processor.ready()
        until(lambda: processor.ports().keys() == {"chat"}, PATIENCE)
        istio.kubectl("delete", "mip", "chat", "-n", other)
        istio.kubectl("delete", "gpupool", "west", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)


def test_the_leader_is_replaced_within_15_seconds(istio: ControlPlane, namespace: str) -> None:
    first = ControllerProcess(istio, namespace)
    until(lambda: "leads" in first.said(), PATIENCE)
    with ControllerProcess(istio, namespace) as second:
        istio.apply(policy(namespace, models=["a"], versions=[{"name": "v1"}]))
        waits_for(istio, namespace)
        first.end(signal.SIGKILL)
        istio.kubectl("patch", "mip", "chat", "-n", namespace, "--type=merge", "-p", '{"spec": {"port": 81}}')
        until(lambda: "leads" in second.said(), 15)
        until(lambda: wanted(policy(namespace, models=["a"], versions=[{"name": "v1"}], port=81))(istio), PATIENCE)
        with ControllerProcess(istio, namespace) as third:
            assert second.end() == 0
            holder = ("get", "lease", "controller", "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}")
            assert istio.kubectl(*holder) in ("", third.identity()), "at an orderly end others need not wait"
            until(lambda: "leads" in third.said(), PATIENCE)
            istio.kubectl("delete", "mip", "--all", "-n", namespace)
            until(lambda: not live(istio), PATIENCE)
