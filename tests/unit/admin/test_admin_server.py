"""What the admin port answers, by path, method, host and query."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.admin import page
from extproc.admin.client import Replica, Unreachable
from extproc.admin.server import AdminContent, AdminServer, _is_loopback
from extproc.errors import SetupError
from extproc.exchange.notes import Observed
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import RecentTraffic, TrafficReport
from extproc.telemetry.serving_gauges import ServingGauges
from extproc.telemetry.spans import Span
from extproc.telemetry.tap import OpenTaps, TapFilter

OBSERVED = Observed("llama", "v1", "none", "openai", "200", 0.1)


class Content:
    """What there is to show; a test may change it."""

    def __init__(self) -> None:
        self.metrics, self.recent, self.taps = Metrics(), RecentTraffic(), OpenTaps()
        self.reason = ""
        self.admin = AdminContent(
            lambda: self.metrics,
            lambda: self.reason,
            lambda: {"generation": 3, "policies": []},
            self.recent.report,
            self._tap,
            lambda: self.rollouts,
            lambda: b"counts",
            lambda: self.spans,
            lambda: b"spans as they came",
        )
        self.spans: list[Span] = []
        self.rollouts: list[dict[str, Any]] = []
        self.filters: list[TapFilter] = []

    def _tap(self, wanted: TapFilter) -> Any:
        self.filters.append(wanted)
        return self.taps.open(wanted)


@pytest.fixture
def content() -> Content:
    return Content()


@pytest.fixture
def admin(content: Content) -> Iterator[AdminServer]:
    admin = AdminServer("127.0.0.1:0", content.admin)
    admin.start()
    yield admin
    admin.stop()


def get(admin: AdminServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_readiness_says_why_not(admin: AdminServer, content: Content) -> None:
    assert get(admin, "/readyz")[::2] == (200, b"ready\n")
    content.reason = "draining"
    assert get(admin, "/readyz")[::2] == (503, b"not ready: draining\n")
    assert get(admin, "/healthz")[::2] == (200, b"ok\n"), "the process lives"


def test_what_machines_read(admin: AdminServer, content: Content) -> None:
    content.metrics.count_error("x")
    content.recent.note(OBSERVED)
    assert json.loads(get(admin, "/config")[2]) == {"generation": 3, "policies": []}
    assert msgspec.json.decode(get(admin, "/recent")[2], type=TrafficReport).slices[0].rows[0][1].requests == 1
    total = Metrics()
    total.add(get(admin, "/state")[2])
    assert total._counters["extproc_errors"] == {("x",): 1}
    status, headers, body = get(admin, "/live?window=60")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["generation"] == 3


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("", "text/plain", b"\n"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", b"# EOF\n"),
    ],
)
def test_metrics_in_the_format_that_is_asked_for(
    accept: str, content_type: str, end: bytes, admin: AdminServer, content: Content
) -> None:
    content.metrics.count_error("x")
    status, headers, body = get(admin, "/metrics", accept=accept)
    assert (status, headers["content-type"].partition(";")[0]) == (200, content_type)
    assert b'extproc_errors_total{reason="x"} 1.0' in body
    assert body.endswith(end)


def test_paths_are_listed_where_there_is_none(admin: AdminServer) -> None:
    assert get(admin, "/")[2].split() == [
        *(b"/metrics", b"/healthz", b"/readyz", b"/config", b"/live", b"/recent", b"/rollouts", b"/tap", b"/traces")
    ]
    status, _, body = get(admin, "/none")
    assert status == 404
    assert b"there are /metrics /healthz" in body


def test_every_response_is_safe_for_browsers(admin: AdminServer) -> None:
    for path in ("/", "/metrics", "/none", "/live?window=x", "/page/page.js"):
        headers = get(admin, path)[1]
        assert headers["content-security-policy"] == page.POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["server"].strip() == "extproc"


@pytest.mark.parametrize("path", ["/live?window=0", "/live?nonsense=1", "/tap?min_ms=slow", "/tap?x=1"])
def test_a_wrong_parameter_is_named_with_those_that_there_are(path: str, admin: AdminServer) -> None:
    status, _, body = get(admin, path)
    assert status == 400
    assert b"; there are: " in body


def test_head_has_the_headers_and_no_body(admin: AdminServer) -> None:
    status, headers, body = get(admin, "/healthz", "HEAD")
    assert (status, headers["content-length"], body) == (200, "3", b"")
    assert get(admin, "/tap", "HEAD")[::2] == (200, b"")
    assert get(admin, "/healthz", "POST")[0] == 501


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:9", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("[fe80::1%25eth0]", 200), ("evil.example", 421)],
)
def test_a_name_of_a_web_site_is_refused_on_loopback(host: str, status: int, admin: AdminServer) -> None:
    assert get(admin, "/config", host=host)[0] == status


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
def test_pages_of_other_sites_get_nothing(site: str, mode: str, status: int, admin: AdminServer) -> None:
    for path in ("/config", "/tap"):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
        assert get(admin, path, "HEAD", **headers)[0] == status


def test_another_machine_may_call_it_by_any_name(content: Content) -> None:
    admin = AdminServer("0.0.0.0:0", content.admin)
    admin.start()
    try:
        assert not admin.local
        assert get(admin, "/healthz", host="extproc.aimesh:9090")[0] == 200
    finally:
        admin.stop()


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.9.9.9", True), ("[::1]", True), ("LocalHost", True), ("0.0.0.0", False), ("10.0.0.1", False), ("x", False)],
)
def test_which_addresses_are_loopback(host: str, local: bool) -> None:
    assert _is_loopback(host) is local


@contextmanager
def tapping(admin: AdminServer, query: str = "") -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=10)
    try:
        connection.request("GET", f"/tap{query}")
        yield connection.getresponse()
    finally:
        connection.close()


def test_a_tap_gets_what_it_asked_for_as_it_ends(admin: AdminServer, content: Content) -> None:
    with tapping(admin, "?version=v1&min_ms=50") as response:
        assert response.readline() == b"\n", "from now on nothing is missed"
        content.taps.note(msgspec.structs.replace(OBSERVED, version="v2"))
        content.taps.note(OBSERVED)
        said = json.loads(response.readline())
        assert (said["model"], said["version"]) == ("llama", "v1")
    assert content.filters == [TapFilter(version="v1", min_ms=50.0)]


def test_a_unix_socket_takes_the_place_of_a_stale_one(content: Content, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    admin = AdminServer(f"unix://{path}", content.admin)
    admin.start()
    try:
        assert (admin.port, admin.local) == (0, True)
        assert stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116
        assert Replica("it", str(path)).get("/healthz") == b"ok\n"
    finally:
        admin.stop()
    with pytest.raises(Unreachable, match="Connection refused"):
        Replica("it", str(path)).get("/healthz")


@pytest.mark.parametrize("address", ["127.0.0.1:x", "300.0.0.1:0", "unix:///none/such/a.sock"])
def test_an_address_that_can_not_be_used_is_an_error(address: str, content: Content) -> None:
    with pytest.raises(SetupError, match=rf"cannot listen on {address} \(--admin\)"):
        AdminServer(address, content.admin)


def test_rollouts_and_what_verdicts_on_them_need(admin: AdminServer, content: Content) -> None:
    guards = [{"guard": "errors", "verdict": "failing"}]
    content.rollouts = [{"policy": "chat", "to": "v2", "phase": "Paused", "percent": 5, "fault": "", "guards": guards}]
    assert json.loads(get(admin, "/rollouts")[2]) == content.rollouts
    assert json.loads(get(admin, "/live")[2])["rollouts"] == content.rollouts
    assert get(admin, "/evidence")[2] == b"counts"
    exposed = get(admin, "/metrics")[2].decode()
    assert 'inference_rollout_step{policy="chat",version="v2"} 5.0' in exposed
    assert 'inference_rollout_verdict{guard="errors",policy="chat",version="v2"} -1.0' in exposed


def test_circuit_breakers_of_all_processes_are_added_up(admin: AdminServer, content: Content) -> None:
    name = ("chat", "v1", "")
    worker = Metrics()
    worker.serving = lambda: ServingGauges(breakers={name: (8.0, 3.0, "closed", ("10.0.0.3:80",))})
    content.metrics.add(worker.state())
    worker.serving = lambda: ServingGauges(breakers={name: (4.0, 2.0, "ejected", ("10.0.0.2:80",))})
    content.metrics.add(worker.state())
    (shown,) = json.loads(get(admin, "/live")[2])["breakers"]
    assert shown == {
        "policy": "chat",
        "version": "v1",
        "gpu_pool": "",
        "limit": 12,
        "in_flight": 5,
        "states": ["closed", "ejected"],
        "ejected": ["10.0.0.2:80", "10.0.0.3:80"],
    }
    lines = get(admin, "/metrics")[2].decode().splitlines()
    labels = '{gpu_pool="none",policy="chat",version="v1"}'
    assert f"inference_concurrency_limit{labels} 12.0" in lines
    assert f"inference_in_flight{labels} 5.0" in lines
    assert f"inference_target_admits{labels} 0.5" in lines
    assert f"inference_endpoints_ejected{labels} 2.0" in lines


def test_traces_and_the_spans_that_they_are_made_of(admin: AdminServer, content: Content) -> None:
    assert json.loads(get(admin, "/traces")[2]) == {"spans": 0, "edges": [], "traces": []}
    content.spans = [Span(trace, "01", "", "llm", "ingress", "server", int(trace), int(trace) + 1) for trace in "123"]
    found = json.loads(get(admin, "/traces?limit=2")[2])
    assert (found["spans"], [trace["id"] for trace in found["traces"]]) == (3, ["3", "2"])
    assert get(admin, "/traces?limit=0")[0] == 400
    assert get(admin, "/spans")[2] == b"spans as they came"
