"""Lint rules: annotations that Linkerd does not have, and values that it can't parse.

Source: the policy controller of Linkerd 2.20. Durations are one whole number and a unit, lists have no spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.yamldoc import quoted
from linkerd_adapter.lint.objects import Given

VALUE = Rule(
    "LNK604",
    "error",
    "an annotation has a value that Linkerd can't read",
    "A route with it is void, while its status says Accepted: its requests go to the Service as if there were no "
    "route. Of a Service, everything of that sort (timeouts, retries, circuit breaking) is ignored. Only the "
    "controller's log tells.",
    "write it as Linkerd reads it",
)
UNKNOWN = Rule(
    "LNK611",
    "warning",
    "Linkerd does not have this annotation",
    "It is ignored.",
    "correct its name",
)
RULES = (VALUE, UNKNOWN)

TIMEOUT, RETRY = "timeout.linkerd.io/", "retry.linkerd.io/"
BREAKER, ALPHA = "balancer.linkerd.io/", "balancer.alpha.linkerd.io/"
MODE = BREAKER + "failure-accrual"
CONSECUTIVE = MODE + "-consecutive-"
SUCCESS_RATE = ALPHA + "failure-accrual-success-rate-"

DEFAULT_OPAQUE_PORTS = "25,587,3306,4444,5432,6379,9300,11211"
"""Ports that Linkerd takes for opaque where neither Service nor Namespace has an annotation."""

_DURATION = re.compile(r"\s*([0-9]{1,15})(ms|s|m|h|d)\s*")
_RANGE = re.compile(r"\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*")
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_GRPC = frozenset({"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"})
_BOOLEANS = frozenset({"0", "f", "F", "false", "FALSE", "False", "1", "t", "T", "true", "TRUE", "True"})


def milliseconds(text: str) -> int | None:
    """A duration in milliseconds; None where Linkerd can't parse it."""
    if text.strip() == "0":
        return 0
    found = _DURATION.fullmatch(text)
    return int(found.group(1)) * _UNITS[found.group(2)] if found else None


def names_port(ports: str, port: int) -> bool:
    """Whether a list of ports and ranges, as in ``25,8000-8010``, contains ``port``."""
    ranges = (_RANGE.fullmatch(part) for part in ports.split(","))
    return any(int(found[1]) <= port <= int(found[2] or found[1]) for found in ranges if found)


def _duration(text: str) -> bool:
    return milliseconds(text) is not None


def _statuses(text: str) -> bool:
    return all(_status(part) for part in text.split(","))


def _status(text: str) -> bool:
    if text.lower() in ("5xx", "gateway-error"):
        return True
    codes = text.split("-")
    return len(codes) <= 2 and all(re.fullmatch("[1-5][0-9]{2}", code) for code in codes) and codes == sorted(codes)


def _grpc_statuses(text: str) -> bool:
    return all(part.lower() in _GRPC for part in text.split(","))


def _number(low: float, high: float) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return low <= float(text) <= high
        except ValueError:
            return False

    return check


def _count(high: int) -> Callable[[str], bool]:
    return lambda text: text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= high


_DURATIONS = "a whole number with one of ms, s, m, h, d, as in 90s"
ANNOTATIONS: dict[str, tuple[Callable[[str], bool], str]] = {
    TIMEOUT + "request": (_duration, _DURATIONS),
    TIMEOUT + "response": (_duration, _DURATIONS),
    TIMEOUT + "idle": (_duration, _DURATIONS),
    RETRY + "timeout": (_duration, _DURATIONS),
    RETRY + "limit": (_count(2**16 - 1), "a whole number up to 65535"),
    RETRY + "http": (_statuses, "a list without spaces of 5xx, gateway-error, statuses, and ranges of them"),
    RETRY + "grpc": (_grpc_statuses, f"a list without spaces of {', '.join(sorted(_GRPC))}"),
    MODE: (lambda text: text in ("consecutive", "unified"), "consecutive or unified"),
    CONSECUTIVE + "max-failures": (_count(2**32 - 1), "a whole number"),
    CONSECUTIVE + "max-penalty": (_duration, _DURATIONS),
    CONSECUTIVE + "min-penalty": (_duration, _DURATIONS),
    CONSECUTIVE + "jitter-ratio": (_number(0, 100), "a number from 0 to 100"),
    SUCCESS_RATE + "threshold": (_number(0, 1), "a number from 0 to 1"),
    SUCCESS_RATE + "window": (_duration, _DURATIONS),
    SUCCESS_RATE + "min-requests": (_count(1_000_000), "a whole number up to 1000000"),
    ALPHA + "penalize-failures": (lambda text: text.strip() in _BOOLEANS, "true or false"),
    ALPHA + "load-biaser-penalty": (_duration, _DURATIONS),
    ALPHA + "load-biaser-max-retry-after": (_duration, _DURATIONS),
}
"""Annotations of routes and Services: a predicate for values that Linkerd can parse, and their syntax in words."""
PREFIXES = (TIMEOUT, RETRY, BREAKER, ALPHA)


def check(given: Given) -> Iterator[Finding]:
    """Every annotation of Linkerd's for timeouts, retries and circuit breaking."""
    for resource in (*given.services.values(), *(route.resource for route in given.routes)):
        for key, place in resource.annotations.items():
            if not key.startswith(PREFIXES):
                continue
            if key not in ANNOTATIONS:
                yield place.breaks(UNKNOWN, f"Linkerd does not have the annotation {quoted(key)}")
            elif not is_readable(key, place):
                message = f"{quoted(place.text)} is not what Linkerd reads in {key}"
                yield place.breaks(VALUE, message, f"write {ANNOTATIONS[key][1]}")


def is_readable(key: str, value: Value) -> bool:
    """Whether Linkerd has the annotation and can parse its value."""
    return key in ANNOTATIONS and value.is_scalar and ANNOTATIONS[key][0](value.text)
