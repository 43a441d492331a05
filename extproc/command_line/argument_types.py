"""Types of command line arguments: addresses, URLs, durations, numbers. Each raises ``ArgumentTypeError``."""

from __future__ import annotations

import argparse
import ipaddress
import re
from urllib.parse import urlsplit


def seconds(text: str) -> float:
    """A duration in seconds: 0 or more, below a million."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def above_zero(text: str) -> float:
    """A number above 0, below a million: seconds, or how many in each."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and below 1000000")
    return number


def address(text: str) -> str:
    """``host:port``."""
    if text.startswith("unix:"):
        raise argparse.ArgumentTypeError(f"{text!r} is a unix socket, which can't be used here; give host:port")
    scheme, slashes, rest = text.partition("://")
    if slashes:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write it without {scheme}://: {rest.rstrip('/')}")
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write it as host:port, with a port from 0 to 65535")
    return text


def envoy_address(text: str) -> str:
    """``host:port`` on which Envoy is to listen: it resolves no names, and refuses them when it has started."""
    host, _, port = address(text).rpartition(":")
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} has a name, and Envoy listens on IP addresses; write 127.0.0.1:{port} for this machine only, "
            f"or 0.0.0.0:{port} for others, too"
        ) from None
    return text


def data_address(text: str) -> str:
    """``host:port`` or ``unix:///path``."""
    if text.startswith("unix:"):
        return unix_address(text)
    return address(text)


def unix_address(text: str) -> str:
    """``unix:///path``."""
    path = text.removeprefix("unix:").lstrip("/")
    if text == f"unix:///{path}" and path:
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is no address; "
        + (f"did you mean unix:///{path}" if path else "write a unix socket as unix:///path")
    )


def locality(text: str) -> str:
    """``region``, ``region/zone`` or ``region/zone/subzone``; empty: none."""
    parts = text.split("/")
    if text and (len(parts) > 3 or len(text) > 200 or not all(re.fullmatch(r"[^\s/]+", part) for part in parts)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no place; write it as region, region/zone or region/zone/subzone"
        )
    return text


def namespaced_name(text: str) -> str:
    """``namespace/name`` of an object of Kubernetes."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no object; write it as namespace/name")
    return text


def url(text: str) -> str:
    """``http://…`` or ``https://…`` with a host."""
    found = urlsplit(text)
    try:
        valid = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:  # the port is no number
        valid = False
    if valid:
        return text
    bare = text[:1].isalnum() and not text.startswith(("http:", "https:")) and "://" not in text
    raise argparse.ArgumentTypeError(
        f"{text!r} is no URL; " + (f"did you mean http://{text}" if bare else "write it as http://host:port")
    )


def path(text: str) -> str:
    """The path of a request, which begins with a slash."""
    if text.startswith("/"):
        return text
    if "://" in text:
        found = urlsplit(text)
        meant = (found.path or "/") + (f"?{found.query}" if found.query else "")
    else:
        meant = f"/{text}"
    raise argparse.ArgumentTypeError(f"{text!r} is no path; did you mean {meant}")


def status_code(text: str) -> str:
    """An HTTP status, or a class of them: ``503``, ``5xx``; ``0`` for none."""
    if text == "0" or re.fullmatch("[1-5](?:[0-9]{2}|xx)", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no status; write it as 503, or as 5xx for a class of them")


def collector(text: str) -> str:
    """URL of an OpenTelemetry collector, ``http://…`` or ``https://…``; empty for none."""
    url = urlsplit(text)
    if text and not (url.scheme in ("http", "https") and url.hostname):
        raise argparse.ArgumentTypeError(f"{text!r} is no collector's URL; write it as http://host:4317")
    return text


def count(text: str) -> int:
    """A whole number from 1 to 999,999."""
    if not text.isdecimal() or not 0 < int(text) < 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 999999")
    return int(text)
