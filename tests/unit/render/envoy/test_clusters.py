"""Clusters of targets and of the processors."""

from __future__ import annotations

import pytest

from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.picking import Picking
from extproc.policy.snapshot import RetryBudget, Snapshot, Version
from extproc.policy.target import Target
from extproc.render.envoy.clusters import cluster_name, clusters, processor_cluster, retry_budget
from extproc.render.envoy.envoy_options import EnvoyOptions
from tests.unit.render.snapshots import CANARY, MIRRORED, PLAIN, POOLED, UNSERVED, Doc, by_name, policy


def endpoints(cluster: Doc) -> list[Doc]:
    return [one["endpoint"]["address"] for one in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]]


def http_options(cluster: Doc) -> Doc:
    ((name, found),) = cluster["typed_extension_protocol_options"].items()
    assert name == "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    assert found["@type"] == f"type.googleapis.com/{name}"
    return dict(found)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Target("p", "v1", "west", ()), "p/v1/west"),
        (Target("p", "", "west", ()), "p/west"),
        (Target("p", "v1", "", ()), "p/v1"),
        (Target("p", "", "", ()), "p"),
    ],
)
def test_names_leave_out_what_is_empty(target: Target, name: str) -> None:
    assert cluster_name(target) == name
    assert cluster_name(target, grpc=True) == f"{name}#grpc"


@pytest.mark.parametrize(
    ("snapshot", "names"),
    [
        (Snapshot(), []),
        (PLAIN, ["plain", "plain#grpc"]),
        (CANARY, ["chat/v1", "chat/v1#grpc", "chat/v2", "chat/v2#grpc"]),
        (POOLED, ["chat/v1/west", "chat/v1/west#grpc", "chat/v1/east", "chat/v1/east#grpc"]),
        (UNSERVED, []),
    ],
)
def test_two_for_each_target(snapshot: Snapshot, names: list[str]) -> None:
    found = clusters(snapshot, EnvoyOptions())
    assert [cluster["name"] for cluster in found] == names
    assert [cluster["load_assignment"]["cluster_name"] for cluster in found] == names


def test_grpc_is_http2_and_everything_else_http1() -> None:
    plain, grpc = clusters(PLAIN, EnvoyOptions())
    assert http_options(plain)["explicit_http_config"] == {"http_protocol_options": {}}
    assert http_options(plain)["common_http_protocol_options"] == {"idle_timeout": "4s"}
    assert http_options(grpc)["explicit_http_config"] == {"http2_protocol_options": {}}
    assert "common_http_protocol_options" not in http_options(grpc)


def test_addresses_need_no_dns_and_names_do() -> None:
    west, _, east, _ = clusters(POOLED, EnvoyOptions())
    assert [one["type"] for one in (west, east)] == ["STATIC", "STATIC"]
    assert endpoints(west)[1] == {"socket_address": {"address": "10.0.0.2", "port_value": 80}}
    assert endpoints(east) == [{"socket_address": {"address": "fd00::1", "port_value": 80}}]
    named, _ = clusters(PLAIN, EnvoyOptions())
    assert (named["type"], named["dns_lookup_family"]) == ("STRICT_DNS", "ALL")
    mixed = policy(versions=(Version("v1", 1, ("10.0.0.1:80", "model.svc:80")),))
    assert clusters(Snapshot((mixed,)), EnvoyOptions())[0]["type"] == "STRICT_DNS"


def test_only_a_mirror_has_a_time_limit_and_few_requests() -> None:
    found = by_name(clusters(MIRRORED, EnvoyOptions()))
    for name in ("chat/next", "chat/next#grpc"):
        assert http_options(found[name])["common_http_protocol_options"]["max_stream_duration"] == "600s"
        assert found[name]["circuit_breakers"]["thresholds"][0]["max_requests"] == 1024
    assert "max_stream_duration" not in http_options(found["chat/v1"])["common_http_protocol_options"]
    assert found["chat/v1"]["circuit_breakers"]["thresholds"][0]["max_requests"] == 65536


@pytest.mark.parametrize(
    ("balancer", "message"),
    [
        (LoadBalancer("roundRobin"), "round_robin.v3.RoundRobin"),
        (LoadBalancer("random"), "random.v3.Random"),
        (LoadBalancer("consistentHash", "x-user"), "maglev.v3.Maglev"),
    ],
)
def test_the_policy_s_load_balancer_is_behind_it(balancer: LoadBalancer, message: str) -> None:
    for cluster in clusters(Snapshot((policy(load_balancer=balancer),)), EnvoyOptions()):
        (override,) = cluster["load_balancing_policy"]["policies"]
        (chosen,) = override["typed_extension_config"]["typed_config"]["fallback_policy"]["policies"]
        config = chosen["typed_extension_config"]["typed_config"]
        assert config["@type"].endswith(message)
        hashed = config.get("consistent_hashing_lb_config", {}).get("hash_policy", [])
        assert hashed == ([{"header": {"header_name": "x-user"}}] if balancer.header else [])


def test_the_processor_s_endpoint_goes_before_the_least_requests() -> None:
    (override,) = clusters(PLAIN, EnvoyOptions())[0]["load_balancing_policy"]["policies"]
    config = override["typed_extension_config"]["typed_config"]
    assert config["override_host_sources"] == [{"header": "x-gateway-destination-endpoint"}]
    (fallback,) = config["fallback_policy"]["policies"]
    assert fallback["typed_extension_config"]["typed_config"]["@type"].endswith("least_request.v3.LeastRequest")


def test_requests_for_a_picked_server_that_is_gone_may_all_be_tried_again() -> None:
    assert retry_budget(policy(picking=Picking()))["budget_percent"] == {"value": 100.0}
    assert retry_budget(policy(picking=Picking(), retry_budget=RetryBudget(0.25, 1)))["budget_percent"] == {
        "value": 25.0
    }


@pytest.mark.parametrize(
    ("budget", "percent", "least"),
    [
        (None, 20.0, 3),
        (RetryBudget(0.25, 10), 25.0, 10),
        (RetryBudget(0.07, 0), 7.0, 0),
        (RetryBudget(9.0, 1), 100.0, 1),
    ],
)
def test_retry_budgets(budget: RetryBudget | None, percent: float, least: int) -> None:
    found = retry_budget(policy(retry_budget=budget))
    assert found == {"budget_percent": {"value": percent}, "min_retry_concurrency": least}
    model = clusters(Snapshot((policy(retry_budget=budget),)), EnvoyOptions())[0]
    assert model["circuit_breakers"]["thresholds"][0]["retry_budget"] == found


def test_an_ejection_is_for_gateway_errors_only() -> None:
    found = clusters(PLAIN, EnvoyOptions())[0]["outlier_detection"]
    assert (found["consecutive_gateway_failure"], found["consecutive_local_origin_failure"]) == (5, 1)
    assert (found["enforcing_consecutive_5xx"], found["max_ejection_percent"]) == (0, 50)


def test_processors_over_the_network() -> None:
    found = processor_cluster(EnvoyOptions(processors=("10.0.0.1:1", "p.svc:2"), cluster="ours"))
    assert (found["name"], found["load_assignment"]["cluster_name"]) == ("ours", "ours")
    assert found["type"] == "STRICT_DNS"
    assert [one["socket_address"]["address"] for one in endpoints(found)] == ["10.0.0.1", "p.svc"]
    assert http_options(found)["explicit_http_config"] == {
        "http2_protocol_options": {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
    }
    assert found["circuit_breakers"]["thresholds"][0]["max_retries"] == 65536
    assert found["health_checks"][0]["grpc_health_check"] == {}
    assert found["common_lb_config"] == {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"}
    ejection = found["outlier_detection"]
    assert (ejection["consecutive_local_origin_failure"], ejection["max_ejection_percent"]) == (1, 99)
    assert (ejection["enforcing_consecutive_5xx"], ejection["base_ejection_time"]) == (0, "2s")


def test_processors_on_unix_sockets_need_no_dns() -> None:
    found = processor_cluster(EnvoyOptions(processors=("unix:///run/a", "10.0.0.1:1")))
    assert found["type"] == "STATIC"
    assert endpoints(found)[0] == {"pipe": {"path": "/run/a"}}
