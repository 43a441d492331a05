"""The connection manager: limits for untrusted clients, and its filters in their order."""

from __future__ import annotations

import msgspec
import pytest

from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool, Snapshot
from extproc.render.envoy.access_logs import access_logs
from extproc.render.envoy.client_headers import strip_client_headers
from extproc.render.envoy.connection_manager import connection_manager
from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.filters import if_sampled, observe_filter
from tests.unit.render.snapshots import PLAIN, Doc, policy

OPTIONS = EnvoyOptions()
SESSIONS = ("aimesh.session_id", "aimesh.session", "aimesh.call")
REPORTING = Snapshot((policy(),), (GpuPool("west", Gpu(), metrics_type="vllm"),), session_keys=(b"k",))
TAGGED = msgspec.structs.replace(PLAIN, session_keys=(b"k",))


def manager(snapshot: Snapshot = PLAIN, options: EnvoyOptions = OPTIONS) -> Doc:
    found = connection_manager(snapshot, options, {"rds": {"route_config_name": "r"}})
    return dict(found["typed_config"])


@pytest.mark.parametrize(
    ("snapshot", "options", "names"),
    [
        (TAGGED, EnvoyOptions(), ["aimesh.route", *SESSIONS, "aimesh.observe", "envoy.filters.http.router"]),
        (PLAIN, EnvoyOptions(observe=False), ["aimesh.route", "envoy.filters.http.router"]),
        (
            REPORTING,
            EnvoyOptions(body="native"),
            ["aimesh.load", "aimesh.model", "aimesh.route", *SESSIONS, "aimesh.observe", "envoy.filters.http.router"],
        ),
    ],
)
def test_filters_in_order(snapshot: Snapshot, options: EnvoyOptions, names: list[str]) -> None:
    assert [one["name"] for one in manager(snapshot, options)["http_filters"]] == names


def test_limits_for_untrusted_clients() -> None:
    found = manager()
    assert found["rds"] == {"route_config_name": "r"}
    assert (found["max_request_headers_kb"], found["common_http_protocol_options"]["max_headers_count"]) == (60, 100)
    assert (found["request_headers_timeout"], found["request_timeout"]) == ("10s", "300s")
    assert (found["use_remote_address"], found["normalize_path"], found["merge_slashes"]) == (True, True, True)
    assert found["common_http_protocol_options"]["headers_with_underscores_action"] == "DROP_HEADER"
    (early,) = found["early_header_mutation_extensions"]
    assert early == strip_client_headers(PLAIN, "x-envoy-")


def test_requests_are_logged_for_the_processor_and_observed_as_such() -> None:
    found = manager(options=EnvoyOptions(access_log=""))
    assert found["access_log"] == access_logs(EnvoyOptions(access_log=""))
    assert if_sampled(observe_filter(PLAIN, OPTIONS, accounted=True)) in found["http_filters"]


@pytest.mark.parametrize("sampling", [0.0, 0.5, 1.0])
def test_another_share_needs_no_rendering(sampling: float) -> None:
    sampled = Snapshot((msgspec.structs.replace(PLAIN.policies[0], sampling=sampling), *PLAIN.policies[1:]))
    assert manager(sampled) == manager(PLAIN)
