"""The validator itself: what is right passes, each planted mistake is found, no rule goes unevaluated."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from celpy.celparser import CELParseError

from tests.manifests import cel, crds, schema
from tests.manifests.planting import planted

ROUTE: dict[str, Any] = yaml.safe_load("""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: llm, namespace: ai}
spec:
  parentRefs: [{group: "", kind: Service, name: llm, namespace: ai, port: 80}]
  rules:
  - matches: [{headers: [{name: x-model-version, value: v1}]}]
    backendRefs: [{name: llm-v1, namespace: ai, port: 80}]
  - timeouts: {request: 10s}
    backendRefs:
    - {name: llm-v1, namespace: ai, port: 80, weight: 90}
    - {name: llm-v2, namespace: ai, port: 80, weight: 10}
""")
OTHERS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hosted, namespace: ai}
spec:
  hosts: [api.example.com]
  ports: [{number: 443, name: https, protocol: TLS}]
  resolution: DNS
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: ai}
spec:
  selector: {matchLabels: {app: llm}}
  jwtRules: [{issuer: me, jwksUri: "https://example.com/keys"}]
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: filter, namespace: ai}
spec: {url: "oci://example.com/filter:1"}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: any, namespace: ai}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND}
    patch: {operation: INSERT_FIRST, value: {name: x, typed_config: {any: [thing]}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: llm, namespace: ai}
spec:
  parentRefs: [{group: "", kind: Service, name: llm, port: 80}]
  rules: [{matches: [{method: {service: inference.GRPCInferenceService}}], backendRefs: [{name: llm-v1, port: 80}]}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool, namespace: ai}
spec:
  selector: {matchLabels: {app: llm}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: picker, port: {number: 9002}}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: llm, namespace: ai}
spec: {podSelector: {matchLabels: {app: llm}}, port: http, proxyProtocol: HTTP/1}
---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: llm, namespace: ai}
spec: {routes: [{name: all, condition: {pathRegex: /.*}}]}
"""

pytestmark = crds.needed


@pytest.mark.parametrize("manifest", [ROUTE, *yaml.safe_load_all(OTHERS)], ids=lambda m: m["kind"])
def test_nothing_is_said_of_what_is_right(manifest: dict[str, Any]) -> None:
    assert crds.problems(manifest) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.rules.0.matchs", [], "$.spec.rules[0].matchs: no such field"),
        ("spec.hostname", "a", "$.spec.hostname: no such field"),
        ("spec.rules.0", "text", "$.spec.rules[0]: must be of type object"),
        ("spec.rules.0.backendRefs.0.port", "80", "must be of type integer"),
        ("spec.rules.0.backendRefs.0.port", True, "must be of type integer"),
        ("spec.rules.0.backendRefs.0.port", 65536, "65536 is more than 65535"),
        ("spec.rules.0.backendRefs.0.port", None, "port: is null"),
        ("spec.rules.0.backendRefs.0", {"namespace": "ai"}, "backendRefs[0]: misses name"),
        ("spec.rules.0.matches.0.headers.0.type", "Prefix", "none of"),
        ("spec.rules.0.matches.0.headers.1", {"name": "x-model-version", "value": "v2"}, "name twice"),
        ("spec.rules.0.matches.0.headers.0.name", "x model", "does not match"),
        ("spec.rules.0.matches.0.path", {"type": "Exact", "value": "v1"}, "must be an absolute path"),
        ("spec.rules.1.timeouts.backendRequest", "20s", "backendRequest timeout cannot be longer"),
        ("spec.rules.1.timeouts.request", "10", "does not match"),
        ("spec.parentRefs.1", ROUTE["spec"]["parentRefs"][0], "must be unique when parentRefs includes"),
        ("spec.rules", [{"name": "a"}] * 17, "more than 16 items"),
        ("spec.hostnames", ["10.0.0.1_"], "does not match"),
        ("metadata.name", "LLM", "no DNS name"),
        ("metadata.labels", {"app": "a b"}, "no value"),
        ("metadata.annotations", {"timeout.linkerd.io/request": 10}, "no value"),
        ("metadata.lables", {}, "$.metadata.lables: no field"),
        ("spec.rules.0.filters.0", {"type": "RequestHeaderModifier"}, "must be specified for RequestHeaderModifier"),
    ],
)
def test_a_planted_mistake_is_found_where_it_is(path: str, value: object, said: str) -> None:
    route = planted(ROUTE, path, value)
    assert any(said in problem for problem in crds.problems(route)), crds.problems(route)


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("ServiceEntry", "spec.endpoints", [{"address": "unix://run/x"}], "UDS must be an absolute path"),
        ("ServiceEntry", "spec.resolution", "NONE", None),
        ("ServiceEntry", "spec.hosts", ["*"], "hostname cannot be wildcard"),
        ("RequestAuthentication", "spec.jwtRules.0.jwks", "{}", "only one of jwks or jwksUri"),
        (
            "RequestAuthentication",
            "spec.jwtRules.0.jwksUri",
            "ftp://example.com",
            "url must have scheme http:// or https://",
        ),
        ("WasmPlugin", "spec.url", "ftp://example.com/x", "url must have schema one of"),
        ("WasmPlugin", "spec.url", "example.com/filter:1", None),
        ("EnvoyFilter", "spec.configPatches.0.patch.operation", "INSERT", "none of"),
        ("EnvoyFilter", "spec.configPatches.0.patch.typed_config", {}, "no such field"),
        ("GRPCRoute", "spec.rules.0.matches.0.method", {"type": "Exact"}, "must be specified"),
        ("GRPCRoute", "spec.rules.0.matches.0.method.service", "no spaces", "must only contain valid characters"),
        ("InferencePool", "spec.targetPorts.1", {"number": 8000}, "port number must be unique"),
        ("InferencePool", "spec.endpointPickerRef", {"name": "picker"}, "port is required when kind is 'Service'"),
        ("Server", "spec.port", 8080, None),
        ("Server", "spec.port", 1.5, "integer or string"),
    ],
)
def test_a_planted_mistake_is_found_in_other_kinds(kind: str, path: str, value: object, said: str | None) -> None:
    base = next(m for m in yaml.safe_load_all(OTHERS) if m["kind"] == kind)
    found = crds.problems(planted(base, path, value))
    assert any(said in problem for problem in found) if said else not found, found


def test_every_rule_of_every_crd_compiles() -> None:
    rules = {rule["rule"] for rule in everywhere("x-kubernetes-validations")}
    for rule in rules:
        cel._program(rule)
    assert len(rules) > 100


def test_every_default_pleases_its_own_schema() -> None:
    """A default that its schema refuses would mean that this reads schemas in another way than Kubernetes does."""
    checked = 0
    for part in everywhere_with("default"):
        assert list(schema.problems(part, schema.defaulted(part, deepcopy(part["default"])), "$")) == []
        checked += 1
    assert checked > 100


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ("self.__namespace__ == 'ai'", True),
        ("has(self.__namespace__) && !has(self.port)", True),
        ("duration(self.wait) >= duration('1h30m')", True),
        ("self.wait.substring(0, 2) == '1h'", True),
        ("self.wait.split('h')[1] == '45m'", True),
        ("isURL(self.wait) ? true : !isURL('http:// x')", True),
        ("url('https://a/b').getScheme() == 'http'", False),
    ],
)
def test_what_kubernetes_adds_to_cel(rule: str, held: bool) -> None:
    strings = {"properties": {"namespace": {"type": "string"}, "wait": {"type": "string"}}}
    rules = {**strings, "x-kubernetes-validations": [{"rule": rule, "message": "no"}]}
    assert list(cel.problems(rules, {"namespace": "ai", "wait": "1h45m"}, "$")) == ([] if held else ["$: no"])


def test_a_rule_that_fails_as_it_runs_is_a_problem() -> None:
    for rule in ("self.missing == 1", "quantity(self.a) > 1", "self.a.unknown()", "oldSelf == self", "duration('1d')"):
        [problem] = cel.problems({"x-kubernetes-validations": [{"rule": rule}]}, {"a": "1"}, "$")
        assert problem.startswith(f"$: a rule fails as it runs: {rule}")


def test_a_rule_that_is_no_cel_and_a_keyword_that_nobody_knows_raise() -> None:
    with pytest.raises(CELParseError):
        list(cel.problems({"x-kubernetes-validations": [{"rule": "self ="}]}, 1, "$"))
    with pytest.raises(NotImplementedError, match="multipleOf"):
        list(schema.problems({"type": "integer", "multipleOf": 2}, 1, "$"))


def test_a_kind_that_nobody_knows_raises() -> None:
    with pytest.raises(crds.UnknownKindError, match="HTTPRoutes"):
        crds.problems({**ROUTE, "kind": "HTTPRoutes"})
    with pytest.raises(crds.UnknownKindError):
        crds.problems(ROUTE, ["istio-1.30.3"])


def everywhere(keyword: str) -> list[Any]:
    return [item for part in everywhere_with(keyword) for item in part[keyword]]


def everywhere_with(keyword: str) -> list[Any]:
    """Each schema, at any depth of any CRD, that has ``keyword``."""
    found: list[Any] = []
    parts: list[Any] = [kinds for file in crds.FOLDER.glob("*.yaml") for kinds in crds._kinds(file).values()]
    while parts:
        part = parts.pop()
        if keyword in part and ("type" in part or "x-kubernetes-int-or-string" in part):
            found.append(part)
        inner = [*part.get("properties", {}).values(), part.get("items"), part.get("additionalProperties")]
        parts += [p for p in inner if isinstance(p, dict)]
    return found
