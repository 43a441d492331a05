"""``picking.metrics`` of a policy: where each endpoint tells how busy it is."""

from __future__ import annotations

import re

from extproc.policy.metrics_page import PAGE_METRICS
from extproc.policy.picking import EndpointPages
from extproc.policyfile import quantities_and_durations
from extproc.policyfile.fields import Field
from extproc.yamldoc import quoted

MIN_INTERVAL, MAX_INTERVAL = 0.05, 1.0
"""Seconds between two looks at a page."""
MAX_PATH = 256
_PATH = re.compile(r"""/[!-"$-~]*""")
_DEFAULT = EndpointPages()


def read(field: Field) -> EndpointPages | None:
    """What the field says."""
    fields = field.fields("type", "port", "path", "interval")
    if fields is None:
        return None
    return EndpointPages(
        fields.optional("type", lambda f: f.choice(*PAGE_METRICS), _DEFAULT.kind),
        fields.optional("port", lambda f: f.integer(1, 65535), _DEFAULT.port),
        fields.optional("path", _path, _DEFAULT.path),
        fields.optional("interval", _interval, _DEFAULT.interval),
    )


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
