"""Access logs that are not there or lost entries, and what processors say of where requests went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from extproc.doctor.accounts import check, check_processor
from extproc.doctor.envoy_dump import Evidence
from extproc.exchange.request_outcome import ACCOUNTED
from tests.unit.doctor.test_checks import CLUSTER, TYPE, ext_proc, istio

FILE = "extensions.access_loggers.file.v3.FileAccessLog"
LOST = {"access_logs.grpc_access_log.logs_dropped": 3}


def observer(*metadata: tuple[str, str]) -> dict[str, Any]:
    found = ext_proc("aimesh.observe", observability_mode=True)
    pairs = [{"key": key, "value": value} for key, value in metadata]
    found["typed_config"]["grpc_service"]["initial_metadata"] = pairs
    return found


def log(cluster: str, kind: str = "extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig") -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": cluster}}
    return {"typed_config": {"@type": f"{TYPE}{kind}", "common_config": {"grpc_service": service}}}


def evidence(*filters: dict[str, Any], logs: Any = (), stats: Mapping[str, int] | None = None) -> Evidence:
    dump = istio(*filters)
    listener = dump["configs"][2]["dynamic_listeners"][0]["active_state"]["listener"]
    listener["filter_chains"][0]["filters"][0]["typed_config"]["access_log"] = logs
    return Evidence(dump, stats=stats)


def codes(found: Evidence) -> list[str]:
    return [finding.code for finding in check(found, "here")]


def test_an_observer_with_its_log_is_well() -> None:
    assert codes(evidence(observer(ACCOUNTED), logs=[log("others"), log(CLUSTER)])) == []
    assert codes(evidence(observer())) == []


@pytest.mark.parametrize(
    "logs",
    [
        [],
        None,
        "text",
        [None],
        [{}],
        [log("others")],
        [log(CLUSTER, FILE)],
    ],
)
def test_an_observer_without_its_log(logs: Any) -> None:
    (found,) = check(evidence(observer(ACCOUNTED), logs=logs, stats=LOST), "here")
    assert (found.code, found.file) == ("AIM721", "here")
    assert found.path == "listener outbound_0.0.0.0_8080, filter aimesh.observe"


def test_entries_that_were_lost() -> None:
    (found,) = check(evidence(observer(ACCOUNTED), logs=[log(CLUSTER)], stats=LOST), "here")
    assert (found.code, found.message) == ("AIM722", "3 entries of the gRPC access log were lost")
    assert codes(evidence(observer(ACCOUNTED), logs=[log(CLUSTER)], stats=dict.fromkeys(LOST, 0))) == []
    assert codes(evidence(observer(), logs=[log("others")], stats=LOST)) == [], "it is somebody else's"


@pytest.mark.parametrize("count", [1, 134])
def test_requests_that_went_elsewhere(count: int) -> None:
    (found,) = check_processor({"errors": {"internal": 7, "not_as_decided": count}}, "10.0.0.7:9090")
    assert (found.code, found.file) == ("AIM723", "10.0.0.7:9090")
    assert found.message == f"{count} request{'' if count == 1 else 's'} went elsewhere than decided"


@pytest.mark.parametrize("live", [{}, {"errors": {}}, {"errors": {"not_as_decided": 0}}, {"errors": "none"}])
def test_a_processor_of_which_all_went_as_decided(live: dict[str, Any]) -> None:
    assert list(check_processor(live, "here")) == []
