"""The endpoints of a Service, by its EndpointSlices and the Pods behind them. Pure.

Sources: Kubernetes' API ``discovery.k8s.io/v1``, EndpointConditions: an unknown ``ready`` counts as true, an unknown
``serving`` as ``ready``, an unknown ``terminating`` as false. Like kube-proxy, who finds no ready endpoint takes those
that still serve while they end (KEP-1669).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: its Service."""


class Endpoint(msgspec.Struct, frozen=True):
    """A pod, or another address, that serves a port."""

    address: str
    """``host:port``."""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    """Of its Pod, sorted; empty where it has none or nobody knows it."""
    pod: str = ""
    """``namespace/name`` of its Pod."""
    host_ip: str = ""
    """Address of its Pod's node."""


def usable(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Those that take requests: the ready ones, or where there is none, those that serve while they end."""
    known = tuple(endpoints)
    ready = tuple(e for e in known if e.ready and not e.terminating)
    return ready or tuple(e for e in known if e.serving and e.terminating)


def of_slices(slices: Iterable[Mapping[str, Any]], port_name: str | None, pods: Pods) -> tuple[Endpoint, ...]:
    """The endpoints in the EndpointSlices of one Service.

    ``port_name``: of the Service's port, which names that of the slices (a Service's only port may have no name);
    None: the Service is not known, and slices with one port are taken. An address that several slices name, as they
    may while it moves, is named once, and is ready where one of them says so.
    """
    found: dict[str, Endpoint] = {}
    for one in slices:
        port = _port(one.get("ports") or (), port_name)
        if port is None:
            continue
        for endpoint in one.get("endpoints") or ():
            for known in _endpoints(endpoint, port, pods, _namespace(one)):
                if known.address not in found or (known.ready and not found[known.address].ready):
                    found[known.address] = known
    return tuple(sorted(found.values(), key=lambda e: e.address))


def of_pods(pods: Iterable[Mapping[str, Any]], port: int) -> tuple[Endpoint, ...]:
    """Pods as endpoints, where no Service tells of them. ``port``: on which they listen."""
    found = []
    for pod in pods:
        status = pod.get("status") or {}
        ip = status.get("podIP")
        if not ip or status.get("phase") in ("Succeeded", "Failed"):
            continue
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
        ending = bool((pod.get("metadata") or {}).get("deletionTimestamp"))
        node = str((pod.get("spec") or {}).get("nodeName") or "")
        found.append(Endpoint(_address(ip, port), ready and not ending, ready, ending, node, *_of_pod(pod)))
    return tuple(sorted(found, key=lambda e: e.address))


class Pods:
    """Pods by namespace and name, or by labels."""

    def __init__(self, pods: Iterable[Mapping[str, Any]] = ()) -> None:
        self._by_name = {(_namespace(pod), str(pod["metadata"]["name"])): pod for pod in pods}

    def get(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The Pod of that name; None: there is none."""
        return self._by_name.get((namespace, name))

    def selected(self, namespace: str, labels: Sequence[tuple[str, str]]) -> tuple[Mapping[str, Any], ...]:
        """The Pods of a namespace that have all ``labels``; none where no label is given."""
        wanted = set(labels)
        return tuple(
            pod
            for (where, _), pod in self._by_name.items()
            if labels and where == namespace and wanted <= set(_labels(pod))
        )


def _endpoints(endpoint: Mapping[str, Any], port: int, pods: Pods, namespace: str) -> Iterator[Endpoint]:
    conditions = endpoint.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = ready if conditions.get("serving") is None else conditions["serving"] is True
    target = endpoint.get("targetRef") or {}
    pod = None
    if target.get("kind") == "Pod":
        pod = pods.get(target.get("namespace") or namespace, str(target.get("name")))
    for address in endpoint.get("addresses") or ():
        yield Endpoint(
            _address(address, port),
            ready,
            serving,
            conditions.get("terminating") is True,
            str(endpoint.get("nodeName") or ""),
            *(_of_pod(pod) if pod else ()),
        )


def _port(ports: Sequence[Mapping[str, Any]], name: str | None) -> int | None:
    """The number of the port called ``name``; None: the slice does not have it."""
    if name is None:
        found = list(ports) if len(ports) == 1 else []
    else:
        found = [port for port in ports if (port.get("name") or "") == name]
    number = found[0].get("port") if found else None
    return int(number) if number else None


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _namespace(doc: Mapping[str, Any]) -> str:
    return str(doc["metadata"].get("namespace") or "default")


def _of_pod(pod: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], str, str]:
    """Labels, name and node."""
    name = f"{_namespace(pod)}/{pod['metadata']['name']}"
    return _labels(pod), name, str((pod.get("status") or {}).get("hostIP") or "")


def _labels(pod: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((pod.get("metadata") or {}).get("labels", {}).items()))
