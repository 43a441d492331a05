"""Telemetry: tags that are always ``unknown``, and tags with too many values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from extproc.lint import cel, envoy_attributes
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh, routing

UNPARSABLE = Rule(
    "AIM401",
    "error",
    "a tag whose expression Envoy can't compile",
    "The tag vanishes from the metric; only the proxy's log says so.",
    "correct the CEL expression (Envoy has no string(), exists() or lowerAscii()); a constant needs quotes of its own, "
    "as in \"'v1'\"",
)
UNKNOWN_ATTRIBUTE = Rule(
    "AIM402",
    "error",
    "a tag that is always `unknown`",
    "Envoy has no such attribute: the expression parses, and never has a value.",
    "read a header, request.headers['x-model-version'], or a label of the peer, "
    "filter_state.upstream_peer.labels['version']",
)
WRONG_PEER = Rule(
    "AIM403",
    "error",
    "a tag of the peer on the wrong side",
    "`upstream_peer` is known to the client's proxy only, `downstream_peer` to the server's: the tag is `unknown` "
    "on the other.",
    "use upstream_peer with mode: CLIENT, downstream_peer with mode: SERVER",
)
UNBOUNDED = Rule(
    "AIM404",
    "error",
    "a series for every value there can be",
    "Each value of a tag makes a series of the counter, and of every bucket of a histogram; series never expire unless "
    "`sidecar.istio.io/statsEvictionInterval` is set (1.28). A duration belongs into REQUEST_DURATION.",
    "tag with a closed set of values, as the model version",
)
CLIENTS_VALUE = Rule(
    "AIM405",
    "warning",
    "a tag with what clients send",
    "Whoever sends a new value of the header makes a new series: metrics grow until the proxy or Prometheus dies.",
    "tag with headers that the processor sets, as x-model-version, or map the value: "
    "request.headers['x-tier'] == 'gold' ? 'gold' : 'other'",
)
PEER_LABEL = Rule(
    "AIM406",
    "warning",
    "a label of the peer that proxies don't exchange",
    "They exchange the labels of the canonical name and version, `app` and `version`; others need istiod's "
    "`PILOT_MX_ADDITIONAL_LABELS`, and are `unknown` without.",
    "name the label in PILOT_MX_ADDITIONAL_LABELS, or tag with a header",
)
TWO_TELEMETRIES = Rule(
    "AIM407",
    "error",
    "two Telemetries without selector in a namespace",
    "Istio takes one of them, the older, and not the other at all.",
    "merge them, or give one a selector",
)
WASM_ERA = Rule(
    "AIM408",
    "warning",
    "`extraStatTags`",
    "It is of the time when statistics were a Wasm filter; tags of a Telemetry need no declaration.",
    "remove it",
)
BAD_FILTER = Rule(
    "AIM409",
    "error",
    "an access log's filter that Envoy can't compile",
    "Envoy compiles it when it reads a listener, and refuses the listener: it goes on with the old one, or a new pod "
    "gets none.",
    "correct the CEL expression, as in response.code >= 400",
)
RULES = (
    *(UNPARSABLE, UNKNOWN_ATTRIBUTE, WRONG_PEER, UNBOUNDED, CLIENTS_VALUE, PEER_LABEL, TWO_TELEMETRIES, WASM_ERA),
    BAD_FILTER,
)

_UNBOUNDED = frozenset(
    f"{root}.{name}"
    for root, names in (
        ("request", "path url_path host referer time id useragent size total_size duration query"),
        ("response", "size total_size backend_latency"),
        ("source", "address port"),
        ("upstream", "local_address cx_pool_ready_duration"),
        ("connection", "id"),
    )
    for name in names.split()
)
_PERSONAL = ("id", "user", "session", "token", "key", "trace", "authorization", "cookie", "forwarded")
_EXCHANGED = (
    *("app", "version", "app.kubernetes.io/name", "app.kubernetes.io/version"),
    *("service.istio.io/canonical-name", "service.istio.io/canonical-revision"),
)
_WRONG_SIDE = {"upstream_peer": ("SERVER",), "downstream_peer": ("CLIENT",)}


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every Telemetry, and annotations of workloads that belong to it."""
    alone: dict[str, list[Resource]] = defaultdict(list)
    for telemetry in mesh.of("Telemetry"):
        if not telemetry.spec.at("selector", "matchLabels").entries and not telemetry.spec.at("targetRefs"):
            alone[telemetry.namespace].append(telemetry)
        yield from _tags(telemetry)
        for logging in telemetry.spec.at("accessLogging").items:
            if expression := logging.at("filter", "expression"):
                yield from _filter(expression)
    for first, *others in alone.values():
        for other in (t for t in others if t.name != first.name):
            yield other.root.at("metadata").breaks(
                TWO_TELEMETRIES, f"{first.name} ({first.location}) has no selector either"
            )
    for resource in mesh.resources:
        for metadata in (resource.root.at("metadata"), resource.spec.at("template", "metadata")):
            for name, key in metadata.at("annotations").named():
                if name == "sidecar.istio.io/extraStatTags":
                    yield key.breaks(WASM_ERA)


def _filter(expression: Value) -> Iterator[Finding]:
    try:
        reads = cel.attributes(expression.text)
    except cel.Unparsable as error:
        yield expression.breaks(BAD_FILTER, f"Envoy can't compile it: {error}")
        return
    for path, _ in reads:
        if not envoy_attributes.known(path):
            yield expression.breaks(UNKNOWN_ATTRIBUTE, f"Envoy has no attribute {'.'.join(path)}: nothing is logged")


def _tags(telemetry: Resource) -> Iterator[Finding]:
    overrides = (o for metrics in telemetry.spec.at("metrics").items for o in metrics.at("overrides").items)
    for override in overrides:
        mode = override.at("match", "mode").text
        for tag in override.at("tagOverrides").entries.values():
            if expression := tag.at("value"):
                yield from _tag(expression, mode)


def _tag(expression: Value, mode: str) -> Iterator[Finding]:
    try:
        reads = cel.attributes(expression.text)
    except cel.Unparsable as error:
        yield expression.breaks(UNPARSABLE, f"Envoy can't compile it: {error}")
        return
    for path, shown in reads:
        root, *rest = path
        name = ".".join(path)
        if not envoy_attributes.known(path):
            yield expression.breaks(UNKNOWN_ATTRIBUTE, f"Envoy has no attribute {name}: the tag is always unknown")
        elif root == "filter_state" and rest:
            yield from _peer(expression, rest, mode)
        elif shown and ".".join(path[:2]) in _UNBOUNDED:
            yield expression.breaks(UNBOUNDED, f"a series for every value of {name}")
        elif shown and path[:2] == ("request", "headers") and rest[1:] and not routing(rest[1]):
            yield from _header(expression, rest[1].lower())


def _header(expression: Value, name: str) -> Iterator[Finding]:
    if any(part in name.split("-") for part in _PERSONAL):
        yield expression.breaks(UNBOUNDED, f"a series for every value of the header {name}")
    else:
        yield expression.breaks(CLIENTS_VALUE, f"the tag's values are what clients send in {name}")


def _peer(expression: Value, path: list[str], mode: str) -> Iterator[Finding]:
    if mode in _WRONG_SIDE.get(path[0], ()):
        yield expression.breaks(WRONG_PEER, f"{path[0]} is not known where mode is {mode}")
    elif path[0] in _WRONG_SIDE and path[1:2] == ["labels"] and path[2:] and path[2] not in _EXCHANGED:
        yield expression.breaks(PEER_LABEL, f"proxies don't exchange the label {path[2]}")
