"""Readers of where something is: hosts, endpoints, ports, URLs."""

from __future__ import annotations

import ipaddress
import re

from extproc.policyfile.fields import Field
from extproc.yamldoc import quoted

_DNS = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_URL = re.compile(r"https?://[^\s/?#]+[^\s]*")


def host(field: Field) -> str | None:
    """A DNS name or an IP address (IPv6 in brackets), without a port."""
    text = field.text("a host name")
    if text is None:
        return None
    if found := _host(text):
        return found
    remedy = "give a DNS name or an IP address (IPv6 in brackets)"
    if text.partition("://")[2]:
        remedy = "leave out the scheme, and a path"
    elif re.search(r":[0-9]+$", text):
        remedy = "the port goes into spec.port (and an IPv6 address into brackets)"
    field.error(f"{quoted(text)} is not a host", remedy)
    return None


def _host(text: str) -> str:
    """The host in canonical form; empty where it is none."""
    try:
        if text.startswith("["):
            address = ipaddress.IPv6Address(text[1:-1]) if text.endswith("]") and "%" not in text else None
            return f"[{address}]" if address else ""
        if re.fullmatch(r"[0-9.]+", text):
            return str(ipaddress.IPv4Address(text))
    except ValueError:
        return ""
    return text.lower() if len(text) <= 253 and _DNS.fullmatch(text) else ""


def endpoint(field: Field) -> str | None:
    """``host:port``."""
    text = field.text("host:port")
    if text is None:
        return None
    before, colon, port = text.rpartition(":")
    if "://" in text:
        field.error(f"{quoted(text)} has a scheme", "leave out the scheme and the path: host:port")
    elif not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not before:
        field.error(f"{quoted(text)} has no port", "give host:port")
    elif ":" in before and not before.startswith("["):
        field.error(f"{quoted(text)} is not host:port", "put an IPv6 address in brackets: [::1]:8000")
    elif not (found := _host(before)):
        field.error(f"{quoted(before)} is not a host", "give a DNS name or an IP address")
    elif not 1 <= int(port) <= 65535:
        field.error(f"{int(port)} is not a port", "give a port from 1 to 65535")
    else:
        return f"{found}:{int(port)}"
    return None


def endpoints(field: Field) -> tuple[str, ...]:
    """A list of ``host:port`` that isn't empty."""
    return field.distinct(endpoint, "endpoint", minimum=1)


def port(field: Field) -> int | None:
    """A TCP port."""
    return field.integer(1, 65535)


def url(field: Field) -> str | None:
    """The URL of a metrics page."""
    return field.text_matching(_URL, "a URL: http://host:port/metrics")
