"""Whether the filters and routes of an Envoy were rendered from the policies in force."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.doctor.envoy_dump import Evidence
from extproc.doctor.rendering_drift import check
from extproc.render.istio.provenance import METADATA, route_metadata
from tests.unit.doctor.test_checks import ext_proc, istio
from tests.unit.telemetry.test_rendering_drift import snapshot, stream


def saying(*pairs: tuple[str, str], name: str = "aimesh.route") -> dict[str, Any]:
    """A filter that sends this initial metadata."""
    found = ext_proc(name)
    found["typed_config"]["grpc_service"]["initial_metadata"] = [{"key": k, "value": v} for k, v in pairs]
    return found


def test_the_doctor_tells_of_each_filter() -> None:
    evidence = Evidence(istio(saying(*stream(snapshot("v1"))), ext_proc("else")))
    assert check(evidence, snapshot("v1"), "here") == []
    (found,) = check(evidence, snapshot("v1", "v2"), "here")
    assert (found.code, found.file) == ("AIM720", "here")
    assert found.path.endswith("filter aimesh.route")
    assert found.message == "rendered from other policies: versions (lacks chat/v2), targets (lacks chat/v2)"


@pytest.mark.parametrize("item", [ext_proc("else"), saying(("x-other", "versions=chat/v0"))])
def test_an_envoy_that_says_nothing_of_itself_is_not_called_good(item: dict[str, Any]) -> None:
    (found,) = check(Evidence(istio(item)), snapshot("v1"), "here")
    assert (found.code, found.severity) == ("AIM725", "warning")
    assert found.message == "not compared with the policies given"


def test_nothing_is_compared_where_there_is_no_processor_or_another_text() -> None:
    assert check(Evidence(istio(saying((METADATA, "anything else")))), snapshot("v1"), "here") == []
    assert check(Evidence(istio()), snapshot("v1"), "here") == []


def test_routes_that_say_what_they_were_rendered_from_are_compared() -> None:
    """As those of `render envoy` and of `up`; the filters of these say nothing."""
    dump = istio(ext_proc("aimesh.route"))
    (routes,) = (each for each in dump["configs"] if "dynamic_route_configs" in each)
    routes["dynamic_route_configs"][0]["route_config"]["metadata"] = route_metadata(snapshot("v1"))
    assert check(Evidence(dump), snapshot("v1"), "here") == []
    found = check(Evidence(dump), snapshot("v2"), "here")
    assert {(each.code, each.path.rpartition(", ")[2]) for each in found} == {("AIM720", "its routes")}


def test_each_filter_is_told_of_by_itself_and_once() -> None:
    old = stream(snapshot("v0"))
    both = istio(saying(*old, *old), saying(*old, name="aimesh.observe"))
    found = check(Evidence(both), snapshot("v1"), "here")
    assert [finding.path.rpartition(" ")[2] for finding in found] == ["aimesh.route", "aimesh.observe"]


def test_metadata_of_another_shape_is_none() -> None:
    odd = ext_proc("aimesh.route")
    for value in (None, "text", [1], [{"key": METADATA}], {"key": METADATA}):
        odd["typed_config"]["grpc_service"]["initial_metadata"] = value
        assert [each.code for each in check(Evidence(istio(odd)), snapshot("v1"), "here")] == ["AIM725"]
