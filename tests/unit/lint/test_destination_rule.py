"""DestinationRules whose balancing, ejection and failover do not happen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import destination_rule
from tests.lint import corpus
from tests.lint.istio_objects import resource, service


@corpus.bad(destination_rule)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(destination_rule, path) == corpus.expected(destination_rule, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(destination_rule) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(destination_rule, text)


def rule(name: str = "a", host: str = "llama", **policy: Any) -> str:
    return resource("DestinationRule", name, host=host, trafficPolicy=policy)


@pytest.mark.parametrize(
    ("ejection", "found"),
    [
        ({"consecutiveGatewayErrors": 5}, ["AIM302"]),
        ({"consecutiveGatewayErrors": 4}, []),
        ({"consecutiveGatewayErrors": 0}, []),
        ({"consecutiveGatewayErrors": 9, "consecutive5xxErrors": 0}, []),
        ({"consecutiveGatewayErrors": 3, "consecutive5xxErrors": 3}, ["AIM302"]),
        ({"consecutiveGatewayErrors": 3, "consecutive5xxErrors": 4}, []),
    ],
)
def test_gateway_errors_count_only_below_the_limit_of_5xx_errors(ejection: dict[str, int], found: list[str]) -> None:
    assert codes(rule(outlierDetection=ejection)) == found


def test_a_port_may_have_the_ejection_of_the_whole_policy() -> None:
    failover = {"loadBalancer": {"localityLbSetting": {"failoverPriority": ["region"]}}}
    port = {"port": {"number": 80}, **failover}
    assert codes(rule(portLevelSettings=[port])) == ["AIM303"]
    assert codes(rule(portLevelSettings=[port], outlierDetection={"interval": "1s"})) == []


def test_policies_of_subsets_are_judged_too() -> None:
    subset = {"name": "v1", "trafficPolicy": {"loadBalancer": {"simple": "LEAST_CONN"}}}
    (found,) = corpus.findings(destination_rule, resource("DestinationRule", host="llama", subsets=[subset]))
    assert (found.code, found.path) == ("AIM301", "spec.subsets[0].trafficPolicy.loadBalancer.simple")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (({"gpu": "true"}, {"gpu": "false"}), ["AIM306"]),
        (({"accelerator": "A100"}, {"accelerator": "CPU"}), ["AIM306"]),
        (({"accelerator": "a100"}, {"accelerator": "h100"}), []),
        (({"gpu": "none"}, {"gpu": "none"}), []),
        (({"gpu": "none"}, {"version": "v2"}), []),
    ],
)
def test_subsets_by_hardware(labels: tuple[dict[str, str], ...], found: list[str]) -> None:
    subsets = [{"name": f"s{i}", "labels": own} for i, own in enumerate(labels)]
    text = resource("DestinationRule", host="llama", subsets=subsets)
    assert codes(text) == found
    locality = {"loadBalancer": {"localityLbSetting": {"failoverPriority": ["gpu"]}}, "outlierDetection": {}}
    assert codes(resource("DestinationRule", host="llama", subsets=subsets, trafficPolicy=locality)) == []


UPGRADE: dict[str, Any] = {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}}


@pytest.mark.parametrize(
    ("port", "found"),
    [
        ({"name": "http"}, []),
        ({"name": "http2-models"}, []),
        ({"name": "grpc", "appProtocol": "tcp"}, ["AIM308"]),
        ({"name": "web"}, ["AIM308"]),
        ({"appProtocol": "kubernetes.io/h2c"}, []),
    ],
)
def test_http2_by_what_the_port_declares(port: dict[str, str], found: list[str]) -> None:
    assert codes(rule(host="processor", **UPGRADE) + service(**port)) == found


def test_http2_without_a_sidecar_in_between() -> None:
    assert codes(rule(host="processor", tls={"mode": "DISABLE"}, **UPGRADE) + service(name="http")) == ["AIM308"]


def strict(mode: str = "STRICT", namespace: str = "ai", **spec: Any) -> str:
    return resource("PeerAuthentication", "default", namespace, mtls={"mode": mode}, **spec)


def test_the_peer_authentication_of_the_namespace_comes_before_that_of_the_mesh() -> None:
    plain = rule(tls={"mode": "DISABLE"})
    assert codes(plain + strict()) == ["AIM309"]
    assert codes(plain + strict(namespace="istio-system")) == ["AIM309"]
    assert codes(plain + strict(namespace="istio-system") + strict("PERMISSIVE")) == []
    assert codes(plain + strict(namespace="other")) == []
    assert codes(plain + strict(selector={"matchLabels": {"app": "x"}})) == []
    assert codes(rule(host="api.example.com", tls={"mode": "DISABLE"}) + strict()) == []


def test_a_second_rule_counts_where_it_is_for_other_clients() -> None:
    one = rule("one", outlierDetection={"interval": "1s"})
    assert codes(one + rule("two", host="llama.ai.svc.cluster.local", tls={"mode": "SIMPLE"})) == ["AIM310"]
    elsewhere = resource("DestinationRule", "two", host="llama", exportTo=["."], trafficPolicy={"tls": {}})
    assert codes(one + elsewhere) == []


def test_settings_for_http_on_opaque_tls_each_by_itself() -> None:
    entry = resource("ServiceEntry", hosts=["api.example.com"], ports=[{"number": 443, "protocol": "tls"}])
    cookie = {"consistentHash": {"httpCookie": {"name": "user"}}}
    text = rule(host="*.example.com", loadBalancer=cookie, outlierDetection={"consecutive5xxErrors": 3}) + entry
    assert codes(text) == ["AIM307", "AIM307"]
    assert codes(rule(host="*.example.org", loadBalancer=cookie) + entry) == []
