"""Names in a cluster: which Service a host means, and names that Kubernetes takes. Pure."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from extproc.render.service_names import label

__all__ = ["DOMAIN", "Service", "is_address", "label", "parse_address", "service_of_host"]

DOMAIN = "cluster.local"
"""The cluster's domain where a host has none."""

_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


class Service(msgspec.Struct, frozen=True, order=True):
    """A Service by its namespace and name."""

    namespace: str
    name: str

    def host(self, domain: str = DOMAIN) -> str:
        """Its fully qualified DNS name."""
        return f"{self.name}.{self.namespace}.svc.{domain}"

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"


def service_of_host(host: str, namespace: str) -> tuple[Service, str] | None:
    """The Service that ``host`` means, and the cluster's domain; None where it is no Service.

    ``chat`` is in ``namespace``; ``chat.ai``, ``chat.ai.svc`` and ``chat.ai.svc.cluster.local`` say theirs.
    """
    labels = host.rstrip(".").split(".")
    if is_address(host) or (len(labels) > 2 and labels[2] != "svc") or not all(map(_LABEL.fullmatch, labels[:2])):
        return None
    if len(labels) == 1:
        return Service(namespace, labels[0]), DOMAIN
    return Service(labels[1], labels[0]), ".".join(labels[3:]) or DOMAIN


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address, IPv6 in brackets or not."""
    return parse_address(host) is not None


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """``host`` as an IP address, IPv6 in brackets or not; None where it is a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
