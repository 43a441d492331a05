"""A real istiod beside the API server: its own webhook judges what is rendered for it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
import yaml

from extproc.cli.main import main
from tests.house.tree import ROOT
from tests.kubernetes.control_plane import ISTIOD, ControlPlane
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def mesh(istiod: ControlPlane) -> Iterator[ControlPlane]:
    """With istiod's validation webhook, by which the API server asks it."""
    istiod.apply(*(named("Namespace", name) for name in ("ai", "istio-ingress")))
    istiod.apply(WEBHOOK)
    until(lambda: refused(istiod, BAD), 60, pause=0.2)
    yield istiod
    istiod.kubectl("delete", "validatingwebhookconfiguration", WEBHOOK["metadata"]["name"])


def named(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


# As Istio's chart has it, but for a URL in the place of a Service, to whose address nothing leads here. istiod writes
# its CA into the configuration of this name.
WEBHOOK: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "istio-validator-istio-system", "labels": {"app": "istiod", "istio.io/rev": "default"}},
    "webhooks": [
        {
            "name": "rev.validation.istio.io",
            "clientConfig": {"url": f"https://{ISTIOD}:15017/validate"},
            "rules": [
                {
                    "operations": ["CREATE", "UPDATE"],
                    "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io"],
                    "apiVersions": ["*"],
                    "resources": ["*"],
                }
            ],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
    ],
}
BAD = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "bad", "namespace": "ai"},
    "spec": {
        "hosts": ["a"],
        "http": [{"match": [{"uri": {"regex": "["}}], "route": [{"destination": {"host": "a"}}]}],
    },
}
"""Right by its CRD; istiod refuses the regular expression."""


def refused(mesh: ControlPlane, *documents: dict[str, Any]) -> str:
    try:
        mesh.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(documents))
    except AssertionError as error:
        return str(error) if "admission webhook" in str(error) else ""
    return ""


@pytest.mark.parametrize("place", ["gateway", "sidecar", "inbound", "waypoint"])
def test_istiod_takes_what_is_rendered(mesh: ControlPlane, place: str) -> None:
    with redirect_stdout(io.StringIO()) as rendered:
        arguments = ["-f", str(ROOT / "istio" / "policy.yaml"), "--for", place, "--host", "llm.example.com"]
        assert main(["render", "istio", *arguments]) == 0
    documents = [document for document in yaml.safe_load_all(rendered.getvalue()) if document]
    assert documents
    assert refused(mesh, BAD), "it is asked"
    mesh.apply(*documents)
    mesh.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(documents))
