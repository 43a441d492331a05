"""Names in a cluster: which Service a host means, and names that Kubernetes takes. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re

import msgspec

DOMAIN = "cluster.local"
"""Of the cluster, where a host does not say."""

_LONGEST = 63
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


class Service(msgspec.Struct, frozen=True, order=True):
    """A Service by its namespace and name."""

    namespace: str
    name: str

    def host(self, domain: str = DOMAIN) -> str:
        """Its DNS name, the whole of it."""
        return f"{self.name}.{self.namespace}.svc.{domain}"

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"


def service(host: str, namespace: str) -> tuple[Service, str] | None:
    """The Service that ``host`` means, and the cluster's domain; None where it means something outside a cluster.

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
    return address(host) is not None


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that ``host`` is, if it is one."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def label(*parts: str) -> str:
    """One name of several parts for an object of Kubernetes (RFC 1035): ``chat-v1``.

    What can't be in such a name becomes ``-``, and what is too long is cut; a hash of the parts then keeps two names
    apart that would be one.
    """
    wanted = "-".join(part for part in parts if part)
    if _LABEL.fullmatch(wanted):
        return wanted
    mark = hashlib.blake2b(wanted.encode(), digest_size=4).hexdigest()
    plain = re.sub(r"[^a-z0-9-]+", "-", wanted.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"s-{plain}"
    return f"{plain[: _LONGEST - len(mark) - 1].rstrip('-')}-{mark}"
