"""``picking.metrics`` of a policy: where each endpoint tells how busy it is."""

from __future__ import annotations

import ipaddress
import re

from extproc.policy.metrics_page import PAGE_METRICS
from extproc.policy.picking import EndpointPages, EndpointPod
from extproc.policyfile import quantities_and_durations
from extproc.policyfile.fields import Field
from extproc.yamldoc import quoted

MIN_INTERVAL, MAX_INTERVAL = 0.05, 1.0
"""Seconds between two looks at a page."""
MAX_PATH = 256
_PATH = re.compile(r"""/[!-"$-~]*""")
MAX_PODS = 2048
_POD = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_DEFAULT = EndpointPages()


def read(field: Field) -> EndpointPages | None:
    """What the field says."""
    fields = field.fields("type", "port", "path", "interval", "gpuPort", "pods")
    if fields is None:
        return None
    if "pods" in fields and "gpuPort" not in fields:
        field.at("pods").error("counts for nothing without gpuPort", "give gpuPort, the port of the GPUs' exporter")
    return EndpointPages(
        fields.optional("type", lambda f: f.choice(*PAGE_METRICS), _DEFAULT.kind),
        fields.optional("port", lambda f: f.integer(1, 65535), _DEFAULT.port),
        fields.optional("path", _path, _DEFAULT.path),
        fields.optional("interval", _interval, _DEFAULT.interval),
        fields.optional("gpuPort", lambda f: f.integer(1, 65535), _DEFAULT.gpu_port),
        fields.optional("pods", _pods, _DEFAULT.pods),
    )


def _pods(field: Field) -> tuple[EndpointPod, ...]:
    """By endpoint; ``kubernetes.endpoint_pods`` writes them where they are known."""
    entries = field.entries()
    if len(entries) > MAX_PODS:
        field.error(f"has {len(entries)} endpoints", f"give at most {MAX_PODS}")
        return ()
    found: dict[str, EndpointPod] = {}
    for endpoint, key, value in entries:
        if endpoint in found:
            key.error(f"the endpoint {endpoint} is there already", "remove one of the two")
        fields = value.fields("pod", "hostIP")
        if fields is None:
            continue
        pod = fields.required("pod", lambda f: f.text_matching(_POD, "namespace/name of the pod"), "name the pod")
        host = fields.required("hostIP", _address, "give the address of the pod's node")
        if pod and host:
            found[endpoint] = EndpointPod(endpoint, pod, host)
    return tuple(found.values())


def _address(field: Field) -> str | None:
    text = field.text("an IP address")
    if text is None:
        return None
    if (address := host_address(text)) is None:
        field.error(f"{quoted(text)} is not an IP address", "give the address of the pod's node")
    return address


def host_address(text: str) -> str | None:
    """The IP address of a node, as others write it too; None where it is none that others could use."""
    try:
        return None if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _path(field: Field) -> str | None:
    text = field.text("a path")
    if text is None:
        return None
    if not _PATH.fullmatch(text) or len(text) > MAX_PATH:
        field.error(f"{quoted(text)} is not a path", f"write it as in /metrics, at most {MAX_PATH} characters")
        return None
    return text


def _interval(field: Field) -> float | None:
    seconds = quantities_and_durations.duration(field)
    if seconds is not None and not MIN_INTERVAL <= seconds <= MAX_INTERVAL:
        field.error("is out of range", "give 50ms to 1s; what is older than 2s counts for nothing")
        return None
    return seconds
