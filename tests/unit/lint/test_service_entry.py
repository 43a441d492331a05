"""ServiceEntries whose endpoints' labels and places mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import service_entry
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(service_entry)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(service_entry, path) == corpus.expected(service_entry, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(service_entry) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(service_entry, text)


HOST = "models.example.com"


def entry(*endpoints: dict[str, Any], **spec: Any) -> str:
    return resource("ServiceEntry", hosts=[HOST], endpoints=list(endpoints), **spec)


def rule(host: str = HOST, **spec: Any) -> str:
    return resource("DestinationRule", host=host, **spec)


def endpoint(*labels: str, **more: Any) -> dict[str, Any]:
    return {"address": "10.0.0.1", "labels": dict.fromkeys(labels, "x"), **more}


@pytest.mark.parametrize(
    ("label", "rest", "found"),
    [
        ("gpu", "", ["AIM501"]),
        ("version", "", []),
        ("topology.istio.io/network", "", []),
        ("gpu", rule(subsets=[{"name": "a", "labels": {"gpu": "x"}}]), []),
        ("gpu", rule("*.example.com", subsets=[{"name": "a", "labels": {"gpu": "x"}}]), []),
        ("gpu", rule("other.example.com", subsets=[{"name": "a", "labels": {"gpu": "x"}}]), ["AIM501"]),
        ("gpu", rule(trafficPolicy={"loadBalancer": {"localityLbSetting": {"failoverPriority": ["gpu=x"]}}}), []),
        ("gpu", rule(trafficPolicy={"loadBalancer": {"localityLbSetting": {"failoverPriority": ["gp"]}}}), ["AIM501"]),
    ],
)
def test_labels_that_something_reads(label: str, rest: str, found: list[str]) -> None:
    assert codes(entry(endpoint(label)) + rest) == found


@pytest.mark.parametrize(
    ("address", "found"),
    [("127.0.0.1", ["AIM505"]), ("::1", ["AIM505"]), ("0.0.0.0", ["AIM505"]), ("localhost", ["AIM505"]), ("::2", [])],
)
def test_endpoints_that_are_each_proxys_own_pod(address: str, found: list[str]) -> None:
    assert codes(entry({"address": address})) == found


def test_all_labels_of_an_endpoint_that_nothing_reads_are_named_at_once() -> None:
    (found,) = corpus.findings(service_entry, entry(endpoint("gpu", "app", "zone")))
    assert (found.path, found.message) == ("spec.endpoints[0].labels.gpu", "nothing reads the labels gpu, zone")


def placed(label: str, place: str) -> dict[str, Any]:
    """An endpoint with a label that nothing else is said of."""
    return {"address": "10.0.0.1", "labels": {label: place}}


APART = (endpoint(network="east"), endpoint(network="west"))


def test_places() -> None:
    assert codes(entry(*APART)) == ["AIM502"]
    assert codes(entry(endpoint(), endpoint(network="west"))) == ["AIM502"]
    assert codes(entry(*APART[:1])) == []
    assert codes(entry(*APART, endpoint(locality="eu/1"))) == []
    assert codes(entry(endpoint(), endpoint())) == [], "nothing says that they are apart"
    assert codes(entry(*(endpoint("version", network="east") for _ in range(2)))) == []


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("topology.kubernetes.io/zone", ["AIM502"]),
        ("topology.istio.io/cluster", ["AIM502"]),
        ("istio-locality", ["AIM502"]),
        ("version", []),
    ],
)
def test_labels_that_tell_of_places(label: str, found: list[str]) -> None:
    assert codes(entry(placed(label, "a"), placed(label, "b"))) == found
    assert codes(entry(placed(label, "a"), placed(label, "a"))) == []


@pytest.mark.parametrize(("enabled", "found"), [(False, []), (True, ["AIM502"])])
def test_places_that_do_not_count(*, enabled: bool, found: list[str]) -> None:
    balancer = {"localityLbSetting": {"enabled": enabled}}
    assert codes(entry(*APART) + rule(trafficPolicy={"loadBalancer": balancer})) == found


@pytest.mark.parametrize(
    ("location", "mode", "found"),
    [
        ("MESH_INTERNAL", "istio", []),
        ("MESH_INTERNAL", "disabled", ["AIM503"]),
        ("MESH_EXTERNAL", "disabled", []),
    ],
)
def test_mutual_tls_inside_the_mesh(location: str, mode: str, found: list[str]) -> None:
    labels = {"labels": {"security.istio.io/tlsMode": mode}}
    assert codes(entry(endpoint(**labels), location=location)) == found


@pytest.mark.parametrize(
    ("port", "rest", "found"),
    [
        ({"number": 443, "protocol": "HTTP"}, "", ["AIM504"]),
        ({"number": 443, "protocol": "grpc"}, "", ["AIM504"]),
        ({"number": 80, "targetPort": 443, "protocol": "HTTP"}, "", ["AIM504"]),
        ({"number": 443, "targetPort": 8443, "protocol": "HTTP"}, "", []),
        ({"number": 443, "protocol": "HTTPS"}, "", []),
        ({"number": 443, "protocol": "HTTP"}, rule(trafficPolicy={"tls": {"mode": "SIMPLE"}}), []),
        ({"number": 443, "protocol": "HTTP"}, rule(trafficPolicy={"tls": {"mode": "DISABLE"}}), ["AIM504"]),
        (
            {"number": 443, "protocol": "HTTP"},
            rule(trafficPolicy={"portLevelSettings": [{"tls": {"mode": "MUTUAL"}}]}),
            [],
        ),
    ],
)
def test_plaintext_to_443(port: dict[str, Any], rest: str, found: list[str]) -> None:
    assert codes(entry(ports=[port]) + rest) == found


TLS: dict[str, Any] = {"trafficPolicy": {"tls": {"mode": "SIMPLE"}}}


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ("", ["AIM504"]),
        (rule(**TLS), []),
        (rule(subsets=[{"name": "a", "labels": {"version": "v1"}, **TLS}]), []),
        (rule(subsets=[{"name": "a", "labels": {"version": "v2"}, **TLS}]), ["AIM504"]),
    ],
)
def test_an_endpoints_own_port_443_in_a_subset_without_tls(rest: str, found: list[str]) -> None:
    """The port of the entry is another one: endpoints map its name to theirs."""
    port = {"number": 8080, "name": "http", "protocol": "HTTP"}
    one = endpoint(labels={"version": "v1"}, ports={"http": 443})
    assert codes(entry(one, ports=[port]) + rest) == found
    assert codes(entry(endpoint(labels={"version": "v1"}, ports={"http": 8443}), ports=[port]) + rest) == []
