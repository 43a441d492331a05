"""`extproc controller --mesh linkerd` on a real API server: what `linkerd-adapter render` writes, kept and removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.names import Service

from extproc.kubernetes.mesh_objects import APPLIED, LABEL, Key, controlled, key_of
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess
from tests.kubernetes.test_policies_carried_out import PATIENCE, conditions, policy, waits_for
from tests.manifests.crds import FOLDER, needed
from tests.policy_documents import load_texts
from tests.waiting import until

pytestmark = [needed, pytest.mark.timeout(300)]
KINDS = (
    "services,serviceaccounts,configmaps,deployments,poddisruptionbudgets,endpointslices,httproutes,"
    "servers.policy.linkerd.io,authorizationpolicies.policy.linkerd.io,meshtlsauthentications.policy.linkerd.io"
)


@pytest.fixture
def linkerd(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """With the kinds of Linkerd and the Gateway API. They go again: other tests' istiod waits for them."""
    files = ("gateway-api-1.6.0.yaml", "linkerd-edge-26.8.3.yaml")
    found = [document for name in files for document in yaml.safe_load_all((FOLDER / name).read_text()) if document]
    kinds = [*found, *map(_open, ("authorizationpolicies", "meshtlsauthentications"))]
    control_plane.apply(*kinds)
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    yield control_plane
    control_plane.kubectl("delete", KINDS, "-A", "-l", f"{LABEL}=linkerd")  # there are some where a test failed
    control_plane.kubectl("delete", "--ignore-not-found", "-f", "-", input=yaml.safe_dump_all(kinds))


def _open(plural: str) -> dict[str, Any]:
    """A CRD that takes everything, of kinds of Linkerd's whose own are not at hand."""
    kind = {"authorizationpolicies": "AuthorizationPolicy", "meshtlsauthentications": "MeshTLSAuthentication"}[plural]
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.policy.linkerd.io"},
        "spec": {"group": "policy.linkerd.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def live(control_plane: ControlPlane) -> dict[Key, str]:
    """The objects that the controller made, with the digest of what was applied."""
    found = json.loads(control_plane.kubectl("get", KINDS, "-A", "-l", f"{LABEL}=linkerd", "-o", "json"))
    return {key_of(one): one["metadata"]["annotations"][APPLIED] for one in found["items"]}


def wanted(namespace: str, document: dict[str, Any]) -> dict[Key, str]:
    snapshot = load_texts([("policy.yaml", yaml.safe_dump(document))]).snapshot
    metadata = {"name": document["metadata"]["name"], "namespace": namespace}
    text = yaml.safe_dump({**document, "metadata": metadata}, sort_keys=False)
    files = {f"modelinferencepolicy-{namespace}-chat.yaml": text}
    rendered = manifests.render(
        snapshot, files, Options(gateway=Service(namespace, "gateway"), replicas=None)
    ).manifests
    return {key: doc["metadata"]["annotations"][APPLIED] for key, doc in controlled(rendered, "linkerd").items()}


def test_policies_are_carried_out_on_linkerd(linkerd: ControlPlane, namespace: str) -> None:
    flags = ("--mesh", "linkerd", "--gateway-name", f"{namespace}/gateway")
    with ControllerProcess(linkerd, namespace, *flags) as controller:
        for versions in (
            [{"name": "v1"}],
            [{"name": "v1", "weight": 1}, {"name": "v2", "weight": 3}],
            [{"name": "v2"}],
        ):
            selector = {"matchLabels": {"app": "chat"}}
            chat = policy(namespace, models=["a"], host="chat", selector=selector, versions=versions)
            linkerd.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))
            waits_for(linkerd, namespace)
            until(lambda chat=chat: live(linkerd).keys() == wanted(namespace, chat).keys(), PATIENCE, pause=0.2)  # type: ignore[misc]
        bare = linkerd.kubectl(
            "get", "httproutes", "-n", namespace, "-o", "jsonpath={.items[*].spec.rules[*].backendRefs[*].name}"
        )
        assert set(bare.split()) == {"chat-v2"}
        outside = policy(namespace, "outside", models=["b"], host="api.example.com")
        linkerd.kubectl("apply", "-f", "-", input=yaml.safe_dump(outside))
        until(lambda: "Programmed" in conditions(linkerd, namespace, "outside"), PATIENCE)
        told = conditions(linkerd, namespace, "outside")["Programmed"]
        assert told[:2] == ("False", "NotWritten")
        assert "is no Service of a cluster" in told[2]
        assert conditions(linkerd, namespace)["Programmed"][0] == "True"
        linkerd.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(linkerd), PATIENCE)
        assert controller.process.poll() is None
