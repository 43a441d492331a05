"""The check of Kubernetes' own kinds: what is right passes, each planted mistake is found."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.manifests import core, crds
from tests.manifests.planting import planted

GOOD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: ai, labels: {app: gateway}}
spec:
  replicas: 2
  selector: {matchLabels: {app: gateway}}
  template:
    metadata:
      labels: {app: gateway}
      annotations: {linkerd.io/inject: enabled}
    spec:
      serviceAccountName: gateway
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: envoy
        image: envoyproxy/envoy:v1.40.0
        args: [-c, /etc/envoy/envoy.yaml]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /ready, port: http}}
        resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 1Gi}}
        volumeMounts: [{name: config, mountPath: /etc/envoy, readOnly: true}]
      volumes:
      - {name: config, configMap: {name: gateway}}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: ai}
spec:
  selector: {app: gateway}
  ports: [{name: http, port: 80, targetPort: http, appProtocol: http}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: gateway, namespace: ai}
data: {envoy.yaml: "{}"}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: gateway, namespace: ai}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: gateway}
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: gateway, namespace: ai}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: gateway}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: gateway, namespace: ai}
spec: {podSelector: {matchLabels: {app: gateway}}, policyTypes: [Ingress], ingress: [{ports: [{port: 8080}]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: gateway, namespace: ai}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, watch]}]
"""
MANIFESTS: dict[str, dict[str, Any]] = {m["kind"]: m for m in yaml.safe_load_all(GOOD)}
POD = "spec.template.spec"
ENVOY = f"{POD}.containers.0"


def test_nothing_is_said_of_what_is_right() -> None:
    assert core.all_problems(GOOD) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("Deployment", "spec.replica", 2, "'replica' was unexpected"),
        ("Deployment", "spec.replicas", "2", "'2' is not of type"),
        ("Deployment", "spec.replicas", None, "$.spec.replicas: is null"),
        ("Deployment", "spec.selector.matchLabels.app", "other", "the template's label is 'gateway'"),
        ("Deployment", "metadata.labels.app", "a b", "no value"),
        ("Deployment", f"{POD}.container", [], "'container' was unexpected"),
        ("Deployment", f"{ENVOY}.image", "", "containers[0]: misses image"),
        ("Deployment", f"{ENVOY}.ports.0.containerPort", 0, "0 is no port"),
        ("Deployment", f"{ENVOY}.ports.0.name", "a-name-much-too-long", "no name of a port"),
        ("Deployment", f"{ENVOY}.readinessProbe.httpGet.port", "https", "no port 'https'"),
        ("Deployment", f"{ENVOY}.resources.requests.memory", "128MB", "'128MB' is no quantity"),
        ("Deployment", f"{ENVOY}.volumeMounts.0.name", "conf", "no volume 'conf'"),
        ("Deployment", f"{ENVOY}.env", [{"name": "A", "value": 1}], "1 is not of type"),
        ("Deployment", f"{POD}.containers.1", {"name": "envoy", "image": "a"}, "'envoy' twice"),
        ("Service", "metadata.name", "llm.v1", "one DNS label"),
        ("Service", "metadata.name", "1-llm", "one DNS label"),
        ("Service", "spec.ports.0.port", 70000, "70000 is no port"),
        ("Service", "spec.ports.1", {"port": 90}, "ports[1]: misses name"),
        ("Service", "spec.ports.0.targetport", 1, "'targetport' was unexpected"),
        ("ConfigMap", "data.n", 1, "1 is not of type"),
        ("ConfigMap", "spec", {}, "'spec' was unexpected"),
        ("HorizontalPodAutoscaler", "spec.maxReplica", 1, "'maxReplica' was unexpected"),
        ("PodDisruptionBudget", "spec.minAvailable", 1, "one of minAvailable and maxUnavailable"),
        ("NetworkPolicy", "spec.ingres", [], "'ingres' was unexpected"),
        ("Role", "rules.0.verb", [], "'verb' was unexpected"),
    ],
)
def test_a_planted_mistake_is_found(kind: str, path: str, value: object, said: str) -> None:
    found = core.problems(planted(MANIFESTS[kind], path, value))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("version", "kind"), [("extensions/v1beta1", "Deployment"), ("apps/v1", "Deploy"), ("v1", "ServicePort")]
)
def test_a_kind_that_kubernetes_does_not_have_raises(version: str, kind: str) -> None:
    with pytest.raises(crds.UnknownKindError):
        core.problems({**MANIFESTS["Deployment"], "apiVersion": version, "kind": kind})


@crds.needed
def test_what_has_no_crd_is_left_out_by_name_only() -> None:
    alien = "apiVersion: example.com/v1\nkind: Alien\nmetadata: {name: a}\n"
    with pytest.raises(crds.UnknownKindError):
        core.all_problems(alien)
    assert core.all_problems(alien, {("example.com/v1", "Alien"): "nobody ships its CRD"}) == []
    gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\n"
    with pytest.raises(ValueError, match="can be checked"):
        core.all_problems(gateway, {("gateway.networking.k8s.io/v1", "Gateway"): "nobody ships its CRD"})


def test_a_document_that_is_no_object_is_a_problem() -> None:
    assert core.all_problems("---\n---\n[]\n") == ["document 1: no object", "document 2: no object"]
