"""Readers of where something is: hosts, endpoints, ports, URLs."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from extproc.fetch.url import parse
from extproc.policyfile.fields import Field
from extproc.yamldoc import quoted

_DNS = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
HTTPS_PORT = "443"
_HTTPS = "https://"


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


class Endpoints(msgspec.Struct, frozen=True):
    """``host:port`` of each server, and whether they are spoken to by TLS."""

    addresses: tuple[str, ...] = ()
    tls: bool = False


def endpoint(field: Field) -> str | None:
    """``host:port``, or ``https://host:port``; there the port may be left out."""
    text = field.text("host:port or https://host")
    if text is None:
        return None
    scheme, _, address = text.rpartition("://")
    tls = scheme.lower() == "https"
    before, colon, port = address.rpartition(":")
    if tls and (not colon or address.endswith("]")):
        before, colon, port = address, ":", HTTPS_PORT
    if scheme and not tls:
        field.error(f"{quoted(text)} has a scheme", "leave out the scheme and the path: host:port, or https://host")
    elif tls and set("/?#@") & set(address):
        field.error(f"{quoted(text)} is more than a host and a port", "write https://host:port; for paths: pathRewrite")
    elif not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not before:
        field.error(f"{quoted(text)} has no port", "give host:port")
    elif ":" in before and not before.startswith("["):
        field.error(f"{quoted(text)} is not host:port", "put an IPv6 address in brackets: [::1]:8000")
    elif not (found := _host(before)):
        field.error(f"{quoted(before)} is not a host", "give a DNS name or an IP address")
    elif not 1 <= int(port) <= 65535:
        field.error(f"{int(port)} is not a port", "give a port from 1 to 65535")
    else:
        if not tls and port == HTTPS_PORT:
            field.warn("443 is the port of HTTPS, and without https:// no TLS is spoken", f"write https://{found}")
        return f"{_HTTPS * tls}{found}:{int(port)}"
    return None


def endpoints(field: Field) -> Endpoints:
    """A list of endpoints that isn't empty: all of them with TLS, or none."""
    found = field.distinct(endpoint, "endpoint", minimum=1)
    tls = [text.startswith(_HTTPS) for text in found]
    if any(tls) and not all(tls):
        field.error("some endpoints are https:// and others are not", "write the same for all, or make two versions")
    return Endpoints(tuple(text.removeprefix(_HTTPS) for text in found), any(tls))


def port(field: Field) -> int | None:
    """A TCP port that is spoken to without TLS."""
    found = field.integer(1, 65535)
    if found == int(HTTPS_PORT):
        remedy = 'list the servers in a version: endpoints: ["https://host"]'
        field.warn("443 is the port of HTTPS, and no TLS is spoken there", remedy)
    return found


def url(field: Field, wanted: str = "a URL: http://host:port/metrics") -> str | None:
    """A URL that can be asked. ``wanted``: what it is, and how it is written."""
    text = field.text(wanted)
    if text is None:
        return None
    try:
        parse(text)
    except ValueError as error:
        field.error(f"{quoted(text)} can't be asked: {error}", f"give {wanted}")
        return None
    return text
