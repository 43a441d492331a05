"""Who may call model servers: the gateway alone, since only its requests have headers that can be believed. Pure.

A client that calls an apex itself could write ``x-model-version`` and choose its version; one that calls a version's
Service needs no header even. Both end at the server's own proxy, which knows who calls.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.render.document import Doc
from linkerd_adapter.names import Service, label
from linkerd_adapter.plan import Plan

GROUP = "policy.linkerd.io"


def authorizations(plan: Plan, account: Service, target_port: int | str | None, *, audit: bool) -> Iterator[Doc]:
    """A Server for the pods of each apex, and what lets ``account``, the gateway's ServiceAccount, in.

    ``audit``: others may pass as well, and are logged. Probes of the kubelet need no leave: Linkerd gives them theirs.
    """
    ports: dict[tuple[str, tuple[tuple[str, str], ...], int | str], str] = {}
    for apex in plan.apexes:
        if apex.labels:
            port = apex.port if target_port is None else target_port
            ports.setdefault((apex.service.namespace, apex.labels, port), apex.service.name)
    for namespace in dict.fromkeys(namespace for namespace, _, _ in ports):
        yield _identity(account, namespace)
    for (namespace, labels, port), name in ports.items():
        yield {
            "apiVersion": f"{GROUP}/v1beta3",
            "kind": "Server",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "podSelector": {"matchLabels": dict(labels)},
                "port": port,
                "accessPolicy": "audit" if audit else "deny",
            },
        }
        yield {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": label(name, "from", account.name), "namespace": namespace},
            "spec": {
                "targetRef": {"group": GROUP, "kind": "Server", "name": name},
                "requiredAuthenticationRefs": [
                    {"group": GROUP, "kind": "MeshTLSAuthentication", "name": account.name, "namespace": namespace}
                ],
            },
        }


def _identity(account: Service, namespace: str) -> Doc:
    """The gateway, by what its certificate says."""
    who = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "MeshTLSAuthentication",
        "metadata": {"name": account.name, "namespace": namespace},
        "spec": {"identityRefs": [who]},
    }
