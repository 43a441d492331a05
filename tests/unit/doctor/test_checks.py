"""The doctor's judgement of dumps shaped as those of Istio's proxies; ``tests/doctor`` has real Envoys.

No istiod runs here: the shapes are those of its sources.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.doctor.checks import diagnose, summary
from extproc.doctor.envoy_dump import Evidence
from extproc.doctor.rule_catalog import RULES
from extproc.errors import SetupError

TYPE = "type.googleapis.com/envoy."
CLUSTER = "outbound|50051||models.ai.svc.cluster.local"


def http_filter(name: str, kind: str = "", **config: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": TYPE + (kind or f"extensions.filters.http.{name}"), **config}}


def ext_proc(name: str, cluster: str = CLUSTER, **config: Any) -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": cluster}}
    return http_filter(name, "extensions.filters.http.ext_proc.v3.ExternalProcessor", grpc_service=service, **config)


def istio(*filters: dict[str, Any], strips: bool = True, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """The config_dump of a gateway with two listeners, one of them with ``filters``."""
    cleaning = {"typed_config": {"mutations": [{"remove": "x-model-version"}]}}

    def listener(name: str, chain: list[dict[str, Any]]) -> dict[str, Any]:
        manager = {
            "@type": f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "rds": {"route_config_name": "http.8080"},
            "http_filters": [*chain, http_filter("envoy.filters.http.router")],
            "early_header_mutation_extensions": [cleaning] if strips else [],
        }
        inner = {"name": name, "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}
        return {"name": name, "active_state": {"listener": inner}}

    pool = ext_proc("envoy.filters.http.ext_proc", "dummy")
    routes = {"name": "http.8080", "virtual_hosts": [{"name": "a", "typed_per_filter_config": settings or {}}]}
    http2: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    options = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2}
    return {
        "configs": [
            {"@type": f"{TYPE}admin.v3.BootstrapConfigDump"},
            {
                "@type": f"{TYPE}admin.v3.ClustersConfigDump",
                "dynamic_active_clusters": [
                    {"cluster": {"name": CLUSTER, "typed_extension_protocol_options": options}}
                ],
            },
            {
                "@type": f"{TYPE}admin.v3.ListenersConfigDump",
                "dynamic_listeners": [listener("outbound_0.0.0.0_8080", list(filters)), listener("other", [pool])],
            },
            {"@type": f"{TYPE}admin.v3.RoutesConfigDump", "dynamic_route_configs": [{"route_config": routes}]},
        ]
    }


def hosts(*found: dict[str, Any]) -> dict[str, Any]:
    return {"cluster_statuses": [{"name": CLUSTER, "host_statuses": list(found)}]}


def named(*names: str) -> list[dict[str, Any]]:
    return [http_filter(name) for name in names]


def codes(dump: dict[str, Any], **more: Any) -> list[str]:
    return [finding.code for finding in diagnose(Evidence(dump, **more), "here")]


GRPC_STATS, JWT = "envoy.filters.http.grpc_stats", "envoy.filters.http.jwt_authn"
GOOD = istio(*named(JWT), ext_proc("models.route"), *named(GRPC_STATS, "istio.alpn", "envoy.filters.http.fault"))


def test_a_gateway_of_istio_is_well() -> None:
    assert codes(GOOD) == []
    assert summary(Evidence(GOOD)) == f"models.route on outbound_0.0.0.0_8080, processor at {CLUSTER}"


def test_the_filter_of_an_inference_pool_is_nobodys_processor() -> None:
    assert codes(istio()) == ["AIM701"]


def test_istio_keeps_no_statistics_of_ext_proc() -> None:
    assert codes(GOOD, stats={"cluster_manager.cds.update_success": 1}) == ["AIM718"]


def test_the_copied_place_and_the_first_place() -> None:
    assert codes(istio(*named(GRPC_STATS, "istio.alpn", "envoy.filters.http.cors"), ext_proc("r"))) == ["AIM702"]
    assert codes(istio(ext_proc("r"), *named(JWT, GRPC_STATS))) == ["AIM702"]


def test_switched_on_by_a_host_of_the_discovered_routes() -> None:
    off = ext_proc("models.route") | {"disabled": True}
    assert codes(istio(off)) == ["AIM714"]
    assert codes(istio(off, settings={"models.route": {"config": {"overrides": {}}}})) == []
    assert codes(istio(off, settings={"models.route": {"disabled": True}})) == ["AIM714"]


def matched(inner: dict[str, Any]) -> dict[str, Any]:
    """A filter in a matcher that may skip it."""
    kind = "extensions.common.matching.v3.ExtensionWithMatcher"
    return http_filter(inner["name"], kind, extension_config=inner, xds_matcher={"matcher_list": {}})


def executed(inner: dict[str, Any]) -> dict[str, Any]:
    """A filter that a composite one executes where nothing matches."""
    found = matched(http_filter(inner["name"], "extensions.filters.http.composite.v3.Composite"))
    action = http_filter("execute", "extensions.filters.http.composite.v3.ExecuteFilterAction", typed_config=inner)
    found["typed_config"]["xds_matcher"]["on_no_match"] = {"action": action}
    return found


@pytest.mark.parametrize("within", [matched, executed])
def test_a_filter_in_a_matcher_is_judged_as_without(within: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    observer = within(ext_proc("models.observe", observability_mode=True))
    well = istio(*named(JWT), ext_proc("models.route"), observer, *named(GRPC_STATS))
    assert codes(well) == []
    assert summary(Evidence(well)).startswith("models.route, models.observe on ")
    assert codes(istio(observer, ext_proc("models.route"))) == ["AIM703"]
    assert codes(istio(within(ext_proc("r")), *named(JWT))) == ["AIM702"]
    assert codes(istio(matched(matched(ext_proc("r", "outbound|1||x"))))) == ["AIM704"]
    assert codes(istio(within(ext_proc("r")) | {"disabled": True})) == ["AIM714"]


def test_a_filter_that_sees_answers_only_stands_where_it_likes() -> None:
    answers = {"request_header_mode": "SKIP", "response_body_mode": "STREAMED"}
    chain = (*named(GRPC_STATS, "istio.alpn"), ext_proc("guard", processing_mode=answers))
    assert codes(istio(*chain, strips=False)) == []
    assert codes(istio(ext_proc("guard", processing_mode=answers), *named(JWT))) == []
    kind = f"{TYPE}extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
    settings = {"guard": {"@type": kind, "overrides": {"processing_mode": {"request_body_mode": "STREAMED"}}}}
    assert codes(istio(*chain, strips=False, settings=settings)) == ["AIM702", "AIM713"]


@pytest.mark.parametrize("wrapper", ["udpa.type.v1", "xds.type.v3"])
def test_a_typed_struct_is_judged_as_what_it_holds(wrapper: str) -> None:
    inner = ext_proc("r", processing_mode={"response_body_mode": "BUFFERED"})["typed_config"]
    around = {"@type": f"type.googleapis.com/{wrapper}.TypedStruct", "type_url": inner.pop("@type"), "value": inner}
    assert codes(istio({"name": "r", "typed_config": around}, *named(JWT))) == ["AIM702", "AIM719"]


def test_a_cluster_that_the_proxy_does_not_have() -> None:
    assert codes(istio(ext_proc("r", "outbound|1||x"))) == ["AIM704"]


def test_endpoints_that_are_gone() -> None:
    assert codes(GOOD, clusters={"cluster_statuses": [{"name": CLUSTER}]}) == ["AIM706"]
    assert codes(GOOD, clusters=hosts({"health_status": {"eds_health_status": "DRAINING"}})) == ["AIM706"]
    host = {"health_status": {"eds_health_status": "HEALTHY"}, "stats": [{"name": "cx_connect_fail", "value": "2"}]}
    assert codes(GOOD, clusters=hosts(host)) == ["AIM706"]
    host["stats"] = [*host["stats"], {"name": "cx_active", "value": "1"}]
    assert codes(GOOD, clusters=hosts(host)) == []


def test_codes_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)


@given(st.data())
def test_no_dump_makes_it_fail(data: st.DataObject) -> None:
    dump = copy.deepcopy(GOOD)
    value: Any = dump
    while isinstance(value, dict | list) and value and data.draw(st.integers(0, 12)):
        key = data.draw(st.sampled_from(sorted(value))) if isinstance(value, dict) else len(value) - 1
        within, value = value, value[key]
    if value is not dump:
        within[key] = data.draw(st.sampled_from([None, 1, "x", [], {}, [1], {"a": 1}]))
    try:
        diagnose(Evidence(dump, clusters={"cluster_statuses": data.draw(st.sampled_from([None, [1], [{}]]))}), "here")
    except SetupError as error:
        assert "bootstrap" in str(error)  # noqa: PT017
