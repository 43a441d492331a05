"""VirtualService, DestinationRule: fields that they do not have.

Below ``tcp``, ``tls`` and ``retryBudget`` (AIM305) nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_fields import Shape
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh
from extproc.policyfile.fields import suggestion

UNKNOWN_KEY = Rule(
    "AIM216",
    "error",
    "a field that a VirtualService or a DestinationRule does not have",
    "`kubectl` refuses it; by any other way the API server drops it, and a match that has lost its condition takes "
    "every request.",
    "correct the name",
)
RULES = (UNKNOWN_KEY,)


def _plain(*names: str) -> dict[str, Shape]:
    return {name: {} for name in names}


_TEXT = _plain("exact", "prefix", "regex")
_SHARE = _plain("value")
_DESTINATION: Shape = {**_plain("host", "subset"), "port": _plain("number")}
_CHANGES = _plain("add", "remove", "set")
_HEADERS: Shape = {"request": _CHANGES, "response": _CHANGES}
_ROUTE: Shape = {
    **_plain("name", "timeout", "mirror_percent", "mirrorPercent"),
    "match": {
        **dict.fromkeys(("authority", "method", "scheme", "uri"), _TEXT),
        **_plain("gateways", "headers", "ignoreUriCase", "name", "port", "queryParams", "sourceLabels"),
        **_plain("sourceNamespace", "statPrefix", "withoutHeaders"),
    },
    "route": {**_plain("weight"), "destination": _DESTINATION, "headers": _HEADERS},
    "redirect": _plain("authority", "derivePort", "port", "redirectCode", "scheme", "uri"),
    "directResponse": {**_plain("status"), "body": _plain("bytes", "string")},
    "delegate": _plain("name", "namespace"),
    "rewrite": {**_plain("authority", "uri"), "uriRegexRewrite": _plain("match", "rewrite")},
    "retries": _plain(
        *("attempts", "backoff", "perTryTimeout", "retryIgnorePreviousHosts", "retryOn", "retryRemoteLocalities")
    ),
    "fault": {
        "abort": {**_plain("grpcStatus", "http2Error", "httpStatus"), "percentage": _SHARE},
        "delay": {**_plain("exponentialDelay", "fixedDelay", "percent"), "percentage": _SHARE},
    },
    "mirror": _DESTINATION,
    "mirrors": {"destination": _DESTINATION, "percentage": _SHARE},
    "mirrorPercentage": _SHARE,
    "corsPolicy": {
        **_plain("allowCredentials", "allowHeaders", "allowMethods", "allowOrigin", "exposeHeaders", "maxAge"),
        **_plain("unmatchedPreflights"),
        "allowOrigins": _TEXT,
    },
    "headers": _HEADERS,
}
VIRTUAL_SERVICE: Shape = {**_plain("exportTo", "gateways", "hosts", "tcp", "tls"), "http": _ROUTE}
"""As of Istio 1.30."""

_PORT: Shape = {
    "connectionPool": {
        "http": _plain(
            *("h2UpgradePolicy", "http1MaxPendingRequests", "http2MaxRequests", "idleTimeout", "maxConcurrentStreams"),
            *("maxRequestsPerConnection", "maxRetries", "useClientProtocol"),
        ),
        "tcp": {
            **_plain("connectTimeout", "idleTimeout", "maxConnectionDuration", "maxConnections"),
            "tcpKeepalive": _plain("interval", "probes", "time"),
        },
    },
    "loadBalancer": {
        **_plain("simple", "warmupDurationSecs"),
        "warmup": _plain("aggression", "duration", "minimumPercent"),
        "consistentHash": {
            **_plain("httpHeaderName", "httpQueryParameterName", "minimumRingSize", "useSourceIp"),
            "httpCookie": {**_plain("name", "path", "ttl"), "attributes": _plain("name", "value")},
            "maglev": _plain("tableSize"),
            "ringHash": _plain("minimumRingSize"),
        },
        "localityLbSetting": {
            **_plain("enabled", "failoverPriority"),
            "distribute": _plain("from", "to"),
            "failover": _plain("from", "to"),
        },
    },
    "outlierDetection": _plain(
        *("baseEjectionTime", "consecutive5xxErrors", "consecutiveErrors", "consecutiveGatewayErrors", "interval"),
        *("consecutiveLocalOriginFailures", "maxEjectionPercent", "minHealthPercent", "splitExternalLocalOriginErrors"),
    ),
    "tls": _plain(
        *("caCertificates", "caCrl", "clientCertificate", "credentialName", "insecureSkipVerify", "mode", "privateKey"),
        *("sni", "subjectAltNames"),
    ),
}
_POLICY: Shape = {
    **_PORT,
    **_plain("retryBudget"),
    "portLevelSettings": {**_PORT, "port": _plain("number")},
    "proxyProtocol": _plain("version"),
    "tunnel": _plain("protocol", "targetHost", "targetPort"),
}
DESTINATION_RULE: Shape = {
    **_plain("exportTo", "host"),
    "subsets": {**_plain("name", "labels"), "trafficPolicy": _POLICY},
    "trafficPolicy": _POLICY,
    "workloadSelector": _plain("matchLabels"),
}
"""As of Istio 1.30."""

_SHAPES = {"VirtualService": VIRTUAL_SERVICE, "DestinationRule": DESTINATION_RULE}


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every VirtualService and DestinationRule."""
    for kind, shape in _SHAPES.items():
        for resource in mesh.of(kind):
            yield from _names(resource.spec, shape, kind)


def _names(value: Value, shape: Shape, kind: str) -> Iterator[Finding]:
    """Fields that ``shape`` does not have, in ``value`` and below."""
    for item in value.items or [value]:
        for name, key in item.named():
            if name not in shape:
                yield key.breaks(UNKNOWN_KEY, f"a {kind} has no field {name} here", suggestion(name, shape))
            elif shape[name]:
                yield from _names(item.at(name), shape[name], kind)
