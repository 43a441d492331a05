"""Telemetry objects: tags for model, version and GPU pool on Istio's metrics, traces and logs.

Istio evaluates a tag's expression (CEL) at the end of a request, over the headers as they were sent upstream. Every
value makes a time series that is never removed, so values are texts of the policies, ``other`` or ``none``, whatever a
client sends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from extproc import headers
from extproc.policy.snapshot import NONE, OTHER, Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.routes import owns_all
from extproc.render.istio.istio_options import IstioOptions, manifest, namespace

TELEMETRY = "Telemetry", "telemetry.istio.io/v1"
_METRICS = ("REQUEST_COUNT", "REQUEST_DURATION")


def telemetries(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each namespace with proxies that route to models or serve them; none without policies."""
    if not snapshot.policies:
        return []
    where = [namespace(policy, options) for policy in snapshot.policies]
    if "gateway" in options.proxies:
        where.append(options.gateway.partition("/")[0])
    if "sidecar" in options.proxies and options.callers:
        where.append(options.callers)
    return [manifest(*TELEMETRY, "aimesh", name, _spec(snapshot, options)) for name in dict.fromkeys(where)]


def tags(snapshot: Snapshot) -> dict[str, str]:
    """CEL expressions of the tags on Istio's metrics, by the tag's name."""
    return {
        "model_name": _model(snapshot),
        "model_version": _one_of(headers.MODEL_VERSION, [v.name for p in snapshot.policies for v in p.answering]),
        "gpu_pool": _one_of(headers.GPU_POOL, [pool.name for pool in snapshot.pools]),
    }


def _spec(snapshot: Snapshot, options: IstioOptions) -> Doc:
    overrides = [
        {
            "match": {"metric": metric, "mode": "CLIENT_AND_SERVER"},
            "tagOverrides": {tag: {"value": expression} for tag, expression in tags(snapshot).items()},
        }
        for metric in _METRICS
    ]
    shown = (
        ("model_name", headers.MODEL_NAME),
        ("model_version", headers.MODEL_VERSION),
        ("gpu_pool", headers.GPU_POOL),
        ("gpu_architecture", headers.GPU_ARCHITECTURE),
    )
    custom: Doc = {tag: {"header": {"name": name, "defaultValue": NONE}} for tag, name in shown}
    if options.since("1.29"):
        custom["route"] = {"formatter": {"value": "%ROUTE_NAME%"}}
    spec: Doc = {
        "metrics": [{"providers": [{"name": "prometheus"}], "overrides": overrides}],
        "tracing": [{"customTags": custom}],
    }
    if options.access_log:
        spec["accessLogging"] = [{"providers": [{"name": options.access_log}]}]
    return spec


def _one_of(header: str, known: Sequence[str]) -> str:
    """The header's value if it is one of ``known``, otherwise ``other``; without the header ``none``."""
    words = ", ".join(_text(headers.safe_value(word)) for word in dict.fromkeys(known))
    value = f"request.headers['{header}']"
    listed = f"{value} in [{words}] ? {value} : '{OTHER}'" if words else f"'{OTHER}'"
    return f"'{header}' in request.headers ? ({listed}) : '{NONE}'"


def _model(snapshot: Snapshot) -> str:
    """The first pattern that matches the model, in the snapshot's order."""
    value = f"request.headers['{headers.MODEL_NAME}']"
    exact = [match.pattern for match in snapshot.patterns if "*" not in match.pattern]
    plain = [pattern for pattern in exact if headers.safe_value(pattern) == pattern]
    cases = [(f"{value} in [{', '.join(map(_text, plain))}]", value)] if plain else []
    cases += [(f"{value} == {_text(headers.safe_value(p))}", _text(p)) for p in exact if p not in plain]
    last = f"'{OTHER}'"
    for match in snapshot.patterns:
        if owns_all(match):
            last = _text(match.pattern)
        elif "*" in match.pattern:
            cases.append((_matches(value, match.pattern), _text(match.pattern)))
    chosen = "".join(f"{condition} ? {found} : " for condition, found in cases) + last
    return f"'{headers.MODEL_NAME}' in request.headers ? ({chosen}) : '{NONE}'"


def _matches(value: str, pattern: str) -> str:
    """A glob by CEL's standard functions: startsWith, contains, endsWith.

    An approximation: ``a*b*c`` also matches where ``b`` occurs only within ``a`` or ``c``. It is for tags only.
    """
    head, *middle, tail = (headers.safe_value(part) for part in pattern.split("*"))
    found = [f"{value}.startsWith({_text(head)})"] if head else []
    found += [f"{value}.contains({_text(part)})" for part in middle if part]
    found += [f"{value}.endsWith({_text(tail)})"] if tail else []
    return " && ".join(found)


def _text(value: str) -> str:
    """A CEL string literal."""
    quoted = json.dumps(value, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"'{quoted}'"
