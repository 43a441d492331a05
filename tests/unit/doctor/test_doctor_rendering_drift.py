"""Whether the filters of an Envoy were rendered from the policies in force."""

from __future__ import annotations

from typing import Any

from extproc.doctor.envoy_dump import Evidence
from extproc.doctor.rendering_drift import check
from extproc.render.istio.provenance import METADATA
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


def test_filters_that_say_nothing_of_themselves_are_not_judged() -> None:
    assert check(Evidence(istio(ext_proc("else"))), snapshot("v1"), "here") == []
    assert check(Evidence(istio(saying(("x-other", "versions=chat/v0")))), snapshot("v1"), "here") == []
    assert check(Evidence(istio(saying((METADATA, "anything else")))), snapshot("v1"), "here") == []
    assert check(Evidence(istio()), snapshot("v1"), "here") == []


def test_each_filter_is_told_of_by_itself_and_once() -> None:
    old = stream(snapshot("v0"))
    both = istio(saying(*old, *old), saying(*old, name="aimesh.observe"))
    found = check(Evidence(both), snapshot("v1"), "here")
    assert [finding.path.rpartition(" ")[2] for finding in found] == ["aimesh.route", "aimesh.observe"]


def test_metadata_of_another_shape_is_none() -> None:
    odd = ext_proc("aimesh.route")
    for value in (None, "text", [1], [{"key": METADATA}], {"key": METADATA}):
        odd["typed_config"]["grpc_service"]["initial_metadata"] = value
        assert check(Evidence(istio(odd)), snapshot("v1"), "here") == []
