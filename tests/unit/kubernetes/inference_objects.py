"""Objects of the Gateway API's inference extension, and the pods of its pools."""

from __future__ import annotations

from typing import Any

from extproc.kubernetes.api import Object
from extproc.kubernetes.pools_as_policies import INFERENCE_POOLS, OBJECTIVES, REWRITES
from tests.unit.kubernetes.test_service_endpoints import pod as plain_pod

PICKER = "picker"


def _made(resource: Any, name: str, spec: dict[str, Any], namespace: str, age: int) -> Object:
    created = f"2026-01-01T00:00:{59 - age:02}Z"
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def pool(name: str = "llama", *ports: int, namespace: str = "ai", age: int = 0, picker: str = PICKER) -> Object:
    """An InferencePool, of pods with the label ``app: NAME``; the larger ``age``, the older."""
    spec = {
        "selector": {"matchLabels": {"app": name}},
        "targetPorts": [{"number": port} for port in ports or (8000,)],
        "endpointPickerRef": {"group": "", "kind": "Service", "name": picker, "port": {"number": 9002}},
    }
    return _made(INFERENCE_POOLS, name, spec, namespace, age)


def objective(name: str, priority: int | None, ref: str = "llama", age: int = 0, **more: Any) -> Object:
    """An InferenceObjective."""
    spec = {"poolRef": {"name": ref, **more}} | ({} if priority is None else {"priority": priority})
    return _made(OBJECTIVES, name, spec, "ai", age)


def rewrite(name: str, *rules: dict[str, Any], ref: str = "llama", age: int = 0) -> Object:
    """An InferenceModelRewrite."""
    return _made(REWRITES, name, {"poolRef": {"name": ref}, "rules": list(rules)}, "ai", age)


def rule(*models: str, **weights: int | None) -> dict[str, Any]:
    """A rule for these models (none: for all); targets by what ``model_name`` has for ``-``, with their weights."""
    targets = [
        {"modelRewrite": model.replace("_", "-"), **({} if weight is None else {"weight": weight})}
        for model, weight in weights.items()
    ]
    matches = [{"model": {"type": "Exact", "value": model}} for model in models]
    return ({"matches": matches} if matches else {}) | ({"targets": targets} if targets else {})


def pod(number: int, app: str = "llama", *, ready: bool = True, **more: Any) -> Object:
    """A pod at 10.0.0.NUMBER, as a server gives it."""
    labels = {"app": app, **more.pop("labels", {})}
    return {"kind": "Pod", **plain_pod(f"{app}-{number}", labels, ip=f"10.0.0.{number}", ready=ready, **more)}
