"""What workloads have in their manifests: labels, and texts."""

from __future__ import annotations

from linkerd_adapter.lint import workloads
from linkerd_adapter.lint.objects import Given, read

FILE = """
kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ai, labels: {app: gw}}, spec: {a: pod}}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d, namespace: ai, labels: {app: other}}
  spec: {template: {metadata: {labels: {app: gw, tier: x}}, spec: {a: conf}}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: conf, namespace: ai}, data: {url: 'http://llm.ai'}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: unused, namespace: ai}, data: {url: 'http://b.ai'}}
- {apiVersion: v1, kind: Service, metadata: {name: s, namespace: ai}, spec: {selector: {app: gw, tier: x}}}
- {apiVersion: v1, kind: Service, metadata: {name: none, namespace: ai}, spec: {}}
"""
GIVEN = Given(read("a.yaml", FILE)[0])
DEPLOYMENT, POD = workloads.workloads(GIVEN)


def test_labels_are_those_of_the_pods() -> None:
    assert workloads.labels(POD) == {"app": "gw"}
    assert workloads.labels(DEPLOYMENT) == {"app": "gw", "tier": "x"}


def test_a_service_selects_by_all_labels_of_its_selector() -> None:
    labels = [(workload, workloads.labels(workload)) for workload in (DEPLOYMENT, POD)]
    assert list(workloads.selected(GIVEN.services["ai", "s"], labels)) == [DEPLOYMENT]
    assert list(workloads.selected(GIVEN.services["ai", "none"], labels)) == []


def test_texts_of_a_workload_and_of_the_config_maps_that_it_names() -> None:
    texts = workloads.all_texts(DEPLOYMENT, GIVEN).split()
    assert "conf" in texts
    assert "http://llm.ai" in texts
    assert "http://b.ai" not in texts
    assert workloads.all_texts(POD, GIVEN) == "pod"
