"""What the API server refuses by istio/admission.yaml, and its CRDs take: `extproc check` refuses it, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from extproc.errors import PolicyProblems
from tests.house.tree import ROOT
from tests.kubernetes.control_plane import ControlPlane
from tests.policy_documents import load_texts
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)
ONE = {"name": "v1", "weight": 1}


def made(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "ai.istio.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def policy(spec: dict[str, Any], name: str = "chat") -> dict[str, Any]:
    return made("ModelInferencePolicy", name, spec)


def metric(name: str) -> dict[str, Any]:
    return {"observability": {"customMetrics": [{"name": name, "type": "COUNTER", "source": "outputTokens"}]}}


def matching(*names: str) -> dict[str, Any]:
    return {"versions": [ONE, {"name": "v2", "weight": 1, "match": [{"headers": dict.fromkeys(names, "b")}]}]}


BAD = [
    (policy({}, "a" * 64), "at most 63 characters"),
    (policy({"versions": [ONE | {"endpoints": ["a:1", "b:65536"]}]}), "port is from 1 to 65535"),
    (policy({"versions": [ONE | {"endpoints": ["[::1]:0"]}]}), "port is from 1 to 65535"),
    (policy(matching("x-MODEL-version")), "never taken from a client"),
    (policy(matching("x-beta", "X-Beta")), "differ in case only"),
    (policy({"trafficManagement": {"timeout": "0s"}}), "give 1ms to 24h"),
    (policy({"trafficManagement": {"timeout": "24h1s"}}), "give 1ms to 24h"),
    (policy({"limits": {"maxBody": 1000}}), "give 1Ki to 1Gi"),
    (policy({"limits": {"maxBody": "2Gi"}}), "give 1Ki to 1Gi"),
    (policy({"gpuRequirements": {"minMemory": 80}}), "no size of a GPU's memory"),
    (policy(metric("extproc_mine")), "the processor's own"),
    (made("GpuPool", "a" * 64, {"product": "NVIDIA-L4"}), "at most 63 characters"),
    (made("GpuPool", "west", {"product": "NVIDIA-L4", "memory": "24k"}), "no size of a GPU's memory"),
    (made("GpuPool", "west", {"product": "NVIDIA-L4", "endpoints": ["a:70000"]}), "port is from 1 to 65535"),
]
GOOD = [
    policy({}, "a" * 63),
    policy({"versions": [ONE | {"endpoints": ["a:1", "[::1]:65535"]}]}),
    policy(matching("x-beta", "x-gamma")),
    policy({"trafficManagement": {"timeout": "23h59m59.5s"}, "limits": {"maxBody": 1024}}),
    policy({"trafficManagement": {"timeout": "1ms"}, "limits": {"maxBody": "1Gi"}} | metric("mine")),
    policy({"gpuRequirements": {"minMemory": "1.5e9"}}),
    made("GpuPool", "west", {"product": "NVIDIA-L4", "endpoints": ["a:65535"], "memory": 24000000000}),
]


@pytest.fixture(scope="module")
def admission(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server takes the policies into account some time after they are applied."""
    control_plane.apply(*yaml.safe_load_all((ROOT / "istio" / "admission.yaml").read_text()))
    for bad, _ in (BAD[0], BAD[-1]):
        until(lambda bad=bad: refused(control_plane, bad), 60, pause=0.2)  # type: ignore[misc]
    yield control_plane
    # They would judge what other tests apply as well.
    control_plane.kubectl("delete", "-f", str(ROOT / "istio" / "admission.yaml"))
    until(lambda: not refused(control_plane, BAD[1][0]), 60, pause=0.2)


def refused(control_plane: ControlPlane, document: dict[str, Any]) -> str:
    """What the API server says against an object; nothing is kept of it."""
    try:
        control_plane.kubectl(
            "create", "--dry-run=server", "--validate=strict", "-f", "-", input=yaml.safe_dump(document)
        )
    except AssertionError as error:
        return str(error)
    return ""


def checked(document: dict[str, Any]) -> str:
    texts = [("a.yaml", yaml.safe_dump(document))]
    if document["kind"] == "GpuPool":
        texts.append(("b.yaml", yaml.safe_dump(policy({"gpuRequirements": {}}))))
    try:
        load_texts(texts)
    except PolicyProblems as problems:
        return str(problems)
    return ""


@pytest.mark.parametrize(("document", "message"), BAD, ids=[f"{i} {message}" for i, (_, message) in enumerate(BAD)])
def test_what_is_refused(admission: ControlPlane, document: dict[str, Any], message: str) -> None:
    assert checked(document)
    said = refused(admission, document)
    assert "ValidatingAdmissionPolicy" in said, "its CRD would take it"
    assert message in said


@pytest.mark.parametrize("document", GOOD, ids=range(len(GOOD)))
def test_what_is_taken(admission: ControlPlane, document: dict[str, Any]) -> None:
    assert (checked(document), refused(admission, document)) == ("", "")


def test_the_policies_of_the_docs_are_taken(admission: ControlPlane) -> None:
    (example,) = re.findall(
        r"<!-- example -->\n```yaml\n(.*?)```", (ROOT / "docs" / "policy.md").read_text(), re.DOTALL
    )
    texts = [example, (ROOT / "istio" / "examples" / "model-inference-policy.yaml").read_text()]
    documents = [document for text in texts for document in yaml.safe_load_all(text) if document]
    assert len(documents) > 2
    for document in documents:
        document["metadata"]["namespace"] = "default"
        assert refused(admission, document) == ""
