"""The pods behind endpoints, told to policies that ask how busy GPUs are (``picking.metrics.gpuPort``). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from extproc.kubernetes.service_endpoints import Endpoint
from extproc.policyfile.endpoint_pages import MAX_PODS, host_address


def pods_of(endpoints: Iterable[Endpoint]) -> dict[str, dict[str, str]]:
    """``picking.metrics.pods``: the endpoints whose pods and nodes are known, ``MAX_PODS`` at most."""
    known = {each.address: each for each in endpoints if each.pod and host_address(each.host_ip)}
    return {name: {"pod": known[name].pod, "hostIP": known[name].host_ip} for name in sorted(known)[:MAX_PODS]}


def with_pods(spec: Mapping[str, Any], endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """A policy's ``spec`` with the pods of its endpoints, where it asks for their GPUs and names no pods itself."""
    picking = spec.get("picking")
    pages = picking.get("metrics") if isinstance(picking, Mapping) else None
    if not isinstance(picking, Mapping) or not isinstance(pages, Mapping):
        return dict(spec)
    if "gpuPort" not in pages or "pods" in pages or not (pods := pods_of(endpoints)):
        return dict(spec)
    return {**spec, "picking": {**picking, "metrics": {**pages, "pods": pods}}}
