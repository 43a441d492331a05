"""What matters of the documents of Envoy's admin port; whatever else is in them counts as absent."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.doctor.envoy_dump import Dump, at, document, quoted, rows, stats
from extproc.errors import SetupError
from tests.unit.doctor.test_checks import CLUSTER, TYPE, ext_proc, http_filter, istio


def test_statistics_as_text() -> None:
    assert stats('a.b: 3\nc: "text"\nd: P0(nan,1)\n\nhttp.[::]_80.x: 4\n') == {"a.b": 3, "http.[::]_80.x": 4}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("[]", 'it says "[]"'),
        ("not\nfound\x1b", 'it says "not found?"'),
        ("[" * 100_000, f'it says "{"[" * 200}…"'),
    ],
)
def test_no_document(text: str, says: str) -> None:
    with pytest.raises(SetupError) as refused:
        document(text.encode(), "x")
    assert str(refused.value) == f"x is no JSON object as Envoy's admin port gives it; {says}"


def test_a_part_of_a_dump_is_none() -> None:
    with pytest.raises(SetupError, match="get all of it"):
        Dump({"configs": [{"@type": f"{TYPE}admin.v3.ListenersConfigDump"}]})


def dump(**sections: Any) -> Dump:
    """A config_dump with these sections, by the names of their types."""
    named = [{"@type": f"{TYPE}admin.v3.{name}", **section} for name, section in sections.items()]
    return Dump({"configs": [{"@type": f"{TYPE}admin.v3.BootstrapConfigDump"}, *named]})


@pytest.mark.parametrize("value", [None, 1, "x", [], {"a": 1}, {"a": "x"}, {"a": [1, None]}])
def test_rows_of_something_else_are_none(value: Any) -> None:
    assert rows(value, "a") == []


def test_steps_into_something_else_lead_nowhere() -> None:
    assert at({"a": {"b": 1}}, "a", "b") == 1
    assert at({"a": [1]}, "a", "b") is None
    assert at(None, "a") is None
    assert at({"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff<html>", 'it says "\ufffd<html>"'),
        (" \n\t", "it is empty"),
        ("a  b\nc", 'it says "a b c"'),
        ("x" * 200, f'it says "{"x" * 200}"'),
        ("x" * 201, f'it says "{"x" * 200}…"'),
    ],
)
def test_a_quotation_is_one_short_line(text: str | bytes, words: str) -> None:
    assert quoted(text) == words


def test_clusters_that_serve() -> None:
    found = dump(
        ClustersConfigDump={
            "static_clusters": [{"cluster": {"name": "a"}}, {"cluster": None}, 3],
            "dynamic_active_clusters": [{"cluster": {"name": "b"}}],
            "dynamic_warming_clusters": [{"cluster": {"name": "c"}}],
        }
    )
    assert list(found.clusters) == ["a", "b"]


def test_an_update_that_was_refused_is_told_once_and_by_its_name() -> None:
    error = {"error_state": {"details": "no such filter"}}
    found = dump(
        ListenersConfigDump={"dynamic_listeners": [error, {"name": "8080", **error}]},
        ClustersConfigDump={
            "dynamic_warming_clusters": [{"cluster": {"name": "c"}, "error_state": {"details": "bad"}}],
            "dynamic_active_clusters": [{"cluster": {"name": "well"}}],
        },
    )
    assert found.refused == [("8080", "no such filter"), ("c", "bad")]


def test_equal_chains_of_a_listener_are_one() -> None:
    document = istio(ext_proc("models.route"))
    (section,) = (s for s in document["configs"] if s["@type"].endswith("ListenersConfigDump"))
    listener = section["dynamic_listeners"][0]["active_state"]["listener"]
    listener["filter_chains"] *= 2
    listener["default_filter_chain"] = listener["filter_chains"][0]
    assert [chain.listener for chain in Dump(document).chains] == ["outbound_0.0.0.0_8080", "other"]


def test_a_chain_knows_its_discovered_routes_and_whether_it_strips() -> None:
    settings: dict[str, Any] = {"models.route": {"config": {}}}
    chain, other = Dump(istio(ext_proc("models.route"), strips=False, settings=settings)).chains
    assert (chain.stat_prefix, chain.cleans, other.listener) == ("outbound_0.0.0.0_8080", False, "other")
    assert [routes["name"] for routes in chain.routes] == ["http.8080"]
    assert chain.switched_on("models.route")
    assert not chain.switched_on("models.observe")
    assert Dump(istio(ext_proc("a"))).chains[0].cleans


@pytest.mark.parametrize(
    ("config", "is_processor", "cluster"),
    [
        (ext_proc("a"), True, CLUSTER),
        (ext_proc("a", "dummy"), False, "dummy"),
        (http_filter("a", "extensions.filters.http.ext_proc.v3.ExternalProcessor", grpc_service={}), True, ""),
        (http_filter("lua"), False, ""),
        ({"name": "a"}, False, ""),
        ({"name": "a", "typed_config": "text"}, False, ""),
    ],
)
def test_what_is_a_processor(config: dict[str, Any], is_processor: bool, cluster: str) -> None:
    found = Dump(istio(config)).chains[0].filters[0]
    assert (found.is_processor, found.cluster) == (is_processor, cluster)


def test_modes_of_a_filter_are_its_own_and_those_of_routes() -> None:
    own = {"request_header_mode": "SKIP"}
    overrides = {"overrides": {"processing_mode": {"request_body_mode": "BUFFERED"}}}
    per_route = {"@type": f"{TYPE}extensions.filters.http.ext_proc.v3.ExtProcPerRoute", **overrides}
    wrapped = {"@type": f"{TYPE}config.route.v3.FilterConfig", "config": per_route}
    for settings in (per_route, wrapped):
        (chain, _) = Dump(istio(ext_proc("a", processing_mode=own), settings={"a": settings})).chains
        found = chain.filters[0]
        assert chain.modes(found) == [own, {"request_body_mode": "BUFFERED"}]
        assert chain.sees_requests(found)
    (chain, _) = Dump(istio(ext_proc("a", processing_mode=own), settings={"b": per_route})).chains
    assert chain.modes(chain.filters[0]) == [own]
    assert not chain.sees_requests(chain.filters[0])
