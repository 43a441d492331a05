"""The doctor's diagnoses of real Envoys, bent on purpose."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from extproc.cli.main import main
from extproc.doctor.checks import diagnose
from extproc.doctor.envoy_admin import fetch
from extproc.errors import SetupError
from extproc.gateway.envoy_process import Envoy
from extproc.lint.findings import Finding
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.policy_documents import load_texts
from tests.waiting import until

pytestmark = pytest.mark.envoy

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: chat}}
spec:
  models: [llama]
  selector: {{matchLabels: {{app: chat}}}}
  versions: [{{name: v1, weight: 1, endpoints: ["{address}"]}}]
"""
Bend = Callable[[dict[str, Any]], None]
CORS = {
    "name": "envoy.filters.http.cors",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"},
}
RBAC = {
    "name": "envoy.filters.http.rbac",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"},
}


def manager(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0][
        "typed_config"
    ]
    return found


def route_filter(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manager(document)["http_filters"][0]["typed_config"]
    return found


def processor_cluster(document: dict[str, Any]) -> dict[str, Any]:
    clusters = document["static_resources"]["clusters"]
    found: dict[str, Any] = next(c for c in clusters if c["name"] == "aimesh-processor")
    return found


class Scene:
    """An Envoy with a processor and a model server, and requests through it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        server = stack.enter_context(ModelServer("v1"))
        self.snapshot = load_texts([("policy.yaml", POLICY.format(address=server.address))]).snapshot
        self.processor = Processor(self.snapshot)
        stack.callback(self.processor.stop)

    def start(self, bend: Bend = lambda _: None, *, processors: tuple[str, ...] = (), **options: Any) -> Gateway:
        chosen = EnvoyOptions(
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            access_log="",
            processors=processors or (self.processor.address,),
            **options,
        )
        document = bootstrap(self.snapshot, chosen)
        bend(document)
        envoy = self._stack.enter_context(Envoy(document, self._directory))
        envoy.wait_ready()
        gateway = Gateway(envoy, self._directory / "none")
        self._stack.enter_context(gateway.opened)
        return gateway


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(tmp_path, stack)


def found(gateway: Gateway) -> dict[str, Finding]:
    """Findings by code, the first of each."""
    url = f"http://{gateway.envoy.admin_address}"
    return {finding.code: finding for finding in reversed(diagnose(fetch(url), url))}


def count(gateway: Gateway, name: str) -> int:
    return sum(gateway.envoy.stats(f"http.aimesh.ext_proc.aimesh_route.{name}").values())


def test_all_is_well(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = scene.start()
    until(lambda: gateway.envoy.stats("cluster.aimesh-processor.membership_healthy").popitem()[1] == 1)
    assert gateway.ask("llama").text == "v1"
    gateway.ask("nobodys-model")
    gateway.post(b"no JSON")
    gateway.post(b"", "/no/api")
    address = gateway.envoy.admin_address
    assert main(["doctor", "--envoy-admin", address]) == 0
    assert capsys.readouterr().out.startswith("ok: Envoy 1.")
    assert main(["doctor", "--envoy-admin", f"http://{address}/", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "findings": [], "source": f"http://{address}/"}


def test_not_attached(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = scene.start(lambda doc: manager(doc).update(http_filters=manager(doc)["http_filters"][-1:]))
    assert found(gateway).keys() == {"AIM701"}
    assert main(["doctor", "--envoy-admin", gateway.envoy.admin_address]) == 1
    assert "not attached: none of 1 HTTP filter chains has ext_proc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("order", "codes", "says"),
    [
        ([CORS, 0, 1], {"AIM702"}, "envoy.filters.http.cors has used the old route before it"),
        ([0, RBAC, 1], {"AIM702"}, "envoy.filters.http.rbac comes after it"),
        ([1, 0], {"AIM703"}, "the observer stands before the filter that routes"),
    ],
)
def test_wrong_order(scene: Scene, order: list[Any], codes: set[str], says: str) -> None:
    def bend(document: dict[str, Any]) -> None:
        filters = manager(document)["http_filters"]
        ours = [item for item in filters if item["name"] in ("aimesh.route", "aimesh.observe")]
        router = filters[-1]
        chosen = [ours[item] if isinstance(item, int) else item for item in order]
        manager(document)["http_filters"] = [*chosen, router]

    findings = found(scene.start(bend))
    assert findings.keys() == codes
    assert any(says in str(finding) for finding in findings.values())


def test_cluster_missing(scene: Scene) -> None:
    def bend(document: dict[str, Any]) -> None:
        route_filter(document)["grpc_service"]["envoy_grpc"]["cluster_name"] = "outbound|50051||nowhere"

    gateway = scene.start(bend)
    gateway.ask("llama")
    findings = found(gateway)
    assert "cluster outbound|50051||nowhere: the processor's cluster is missing" in str(findings.pop("AIM704"))
    assert findings.keys() <= {"AIM707", "AIM708"}


def test_processor_down_and_failing_open(scene: Scene) -> None:
    gateway = scene.start(processors=("127.0.0.1:1",))
    until(lambda: gateway.envoy.stats("cluster.aimesh-processor.health_check.failure").popitem()[1])
    assert gateway.ask("llama").status == 200
    findings = found(gateway)
    assert findings.keys() == {"AIM706", "AIM707"}
    assert "none of 1 endpoints can be used (failed active health check)" in findings["AIM706"].message
    assert "failing open: 1 request passed unprocessed" in findings["AIM707"].message


def test_processor_down_without_health_checks_and_failing_closed(scene: Scene) -> None:
    gateway = scene.start(
        lambda doc: [processor_cluster(doc).pop("health_checks"), None][1], processors=("127.0.0.1:1",), fail_open=False
    )
    assert gateway.ask("llama").status == 503
    findings = found(gateway)
    assert findings.keys() >= {"AIM706", "AIM708"}
    assert "no connection" in findings["AIM706"].message


PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"


def routed(path: str, **overrides: Any) -> dict[str, Any]:
    """A route that answers by itself, with other settings of the filter that routes."""
    settings = {"aimesh.route": {"@type": PER_ROUTE, "overrides": overrides}}
    return {"match": {"path": path}, "direct_response": {"status": 204}, "typed_per_filter_config": settings}


def test_failing_closed_is_told_behind_older_fail_opens(scene: Scene) -> None:
    def bend(document: dict[str, Any]) -> None:
        hosts = manager(document)["route_config"]["virtual_hosts"]
        hosts[0]["routes"].insert(0, routed("/closed", failure_mode_allow=False))

    gateway = scene.start(bend, processors=("127.0.0.1:1",))
    for _ in range(3):
        assert gateway.ask("llama").status == 200
    assert "AIM708" not in found(gateway)
    assert [gateway.post(b"{}", "/closed").status for _ in range(2)] == [503, 503]
    findings = found(gateway)
    assert "failing open: 3 requests passed unprocessed" in findings["AIM707"].message
    assert "failing closed: 2 requests met no processor" in findings["AIM708"].message


def test_timeouts_that_fail_closed(scene: Scene) -> None:
    gateway = scene.start(message_timeout=0.000001, fail_open=False)
    assert gateway.ask("llama").status == 504
    findings = found(gateway)
    assert findings.keys() == {"AIM708", "AIM709"}
    assert "failing closed: 1 request met" in findings["AIM708"].message


@pytest.mark.parametrize("mode", ["BUFFERED", "BUFFERED_PARTIAL"])
def test_buffered_answers(scene: Scene, mode: str) -> None:
    gateway = scene.start(lambda doc: route_filter(doc)["processing_mode"].update(response_body_mode=mode))
    assert found(gateway).keys() == {"AIM719"}
    assert f"response_body_mode {mode}" in found(gateway)["AIM719"].message


def test_buffered_answers_of_one_route(scene: Scene) -> None:
    def bend(document: dict[str, Any]) -> None:
        hosts = manager(document)["route_config"]["virtual_hosts"]
        hosts[0]["routes"].insert(0, routed("/guarded", processing_mode={"response_body_mode": "BUFFERED"}))

    assert found(scene.start(bend)).keys() == {"AIM719"}


def test_nobody_counts(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """The observer leaves it to an access log that is not there."""
    gateway = scene.start(lambda document: manager(document).pop("access_log"))
    assert main(["doctor", "--envoy-admin", gateway.envoy.admin_address]) == 1
    assert "error AIM721: listener aimesh, filter aimesh.observe:" in capsys.readouterr().out


def test_a_processor_that_is_too_slow(scene: Scene) -> None:
    gateway = scene.start(message_timeout=0.000001)
    gateway.ask("llama")
    findings = found(gateway)
    assert findings.keys() == {"AIM707", "AIM709"}
    assert "message_timeouts 1" in findings["AIM709"].message


def test_mutations_are_rejected(scene: Scene) -> None:
    gateway = scene.start(lambda doc: route_filter(doc).update(mutation_rules={"disallow_all": True}))
    gateway.ask("llama")
    assert "AIM710" in found(gateway)
    assert count(gateway, "rejected_header_mutations") > 0


def test_headers_of_clients_are_believed(scene: Scene) -> None:
    gateway = scene.start(lambda doc: manager(doc).update(early_header_mutation_extensions=[]))
    assert found(gateway).keys() == {"AIM713"}


def test_switched_off_and_never_asked(scene: Scene) -> None:
    # Another name than the one for which the rendered routes have settings.
    gateway = scene.start(lambda doc: manager(doc)["http_filters"][0].update(name="models.route", disabled=True))
    gateway.ask("llama")
    assert found(gateway).keys() == {"AIM714", "AIM715"}


def test_http1_to_the_processor(scene: Scene) -> None:
    def bend(document: dict[str, Any]) -> None:
        (options,) = processor_cluster(document)["typed_extension_protocol_options"].values()
        options["explicit_http_config"] = {"http_protocol_options": {}}
        del processor_cluster(document)["health_checks"]  # Envoy itself refuses gRPC health checks there

    assert "AIM705" in found(scene.start(bend))


def test_a_circuit_breaker_that_was_open(scene: Scene) -> None:
    def bend(document: dict[str, Any]) -> None:
        thresholds = processor_cluster(document)["circuit_breakers"]["thresholds"][0]
        thresholds.update(max_requests=0, max_pending_requests=0)

    gateway = scene.start(bend)
    until(lambda: gateway.envoy.stats("cluster.aimesh-processor.membership_healthy").popitem()[1] == 1)
    gateway.ask("llama")
    assert "AIM717" in found(gateway)


def test_counters_have_the_names_that_istio_gives_them(scene: Scene) -> None:
    """Listeners with colons in their prefix, clusters with another name in statistics."""

    def bend(document: dict[str, Any]) -> None:
        manager(document)["stat_prefix"] = "outbound_[::]_80;"
        processor_cluster(document)["alt_stat_name"] = "outbound|50051||a:b;"
        thresholds = processor_cluster(document)["circuit_breakers"]["thresholds"][0]
        thresholds.update(max_requests=0, max_pending_requests=0)

    gateway = scene.start(bend)
    until(lambda: f"{scene.processor.address}::health_flags::healthy" in gateway.envoy.ask("/clusters")[1].decode())
    gateway.ask("llama")
    assert found(gateway).keys() == {"AIM707", "AIM717"}


def test_an_update_that_envoy_refused(scene: Scene, tmp_path: Path) -> None:
    """A filter after the router, as ADD of an EnvoyFilter puts it: refused, and no listener is there."""
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    document = bootstrap(scene.snapshot, EnvoyOptions(listen="127.0.0.1:0", admin="127.0.0.1:0", access_log=""))
    (listener,) = document["static_resources"].pop("listeners")
    bad = json.loads(json.dumps(listener))
    filters = manager({"static_resources": {"listeners": [bad]}})["http_filters"]
    filters.append(filters.pop(0))
    files = tmp_path / "lds.json"
    source = {"resource_api_version": "V3", "path_config_source": {"path": str(files)}}
    document["dynamic_resources"] = {"lds_config": source}
    document["node"] = {"id": "a", "cluster": "a"}

    def version(number: int, resource: dict[str, Any]) -> str:
        found = {"version_info": str(number), "resources": [{"@type": kind, **resource}]}
        return json.dumps(found)

    files.write_text(version(1, listener))
    with Envoy(document, tmp_path) as envoy:
        envoy.wait_ready()
        fresh = tmp_path / "fresh.json"
        fresh.write_text(version(2, bad))
        fresh.replace(files)
        until(lambda: envoy.stats("listener_manager.lds.update_rejected").popitem()[1])
        (refused,) = [f for f in diagnose(fetch(envoy.admin_address), "here") if f.code == "AIM716"]
        assert refused.path == "aimesh"
        assert "terminal filter" in refused.message


def test_what_was_saved_is_judged_too(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = scene.start(processors=("127.0.0.1:1",))
    until(lambda: gateway.envoy.stats("cluster.aimesh-processor.health_check.failure").popitem()[1])
    files = {}
    for name, path in (("config-dump", "/config_dump"), ("clusters", "/clusters?format=json"), ("stats", "/stats")):
        files[name] = tmp_path / name
        files[name].write_bytes(gateway.envoy.ask(path)[1])
    assert main(["doctor", *(word for name, file in files.items() for word in (f"--{name}", str(file))), "--json"]) == 1
    assert [f["code"] for f in json.loads(capsys.readouterr().out)["findings"]] == ["AIM706"]
    assert main(["doctor", "--config-dump", str(files["config-dump"])]) == 0
    assert main(["doctor", "--config-dump", str(files["stats"])]) == 1
    assert "is no JSON object" in capsys.readouterr().err
    assert main(["doctor", "--config-dump", str(tmp_path / "none")]) == 1
    assert "can't be read: No such file" in capsys.readouterr().err
    assert main(["doctor", "--envoy-admin", "127.0.0.1:1", "--stats", str(files["stats"])]) == 1
    assert "belong to --config-dump" in capsys.readouterr().err


class Other(http.server.BaseHTTPRequestHandler):
    """Anything but an Envoy."""

    answers: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answers.get(self.path, b'{"hello": "world"}'))

    def log_message(self, *_: object) -> None:
        pass


class Speechless(Other):
    """An Envoy that can't tell its configuration: it holds a type that it does not know."""

    answers: ClassVar[dict[str, bytes]] = {
        "/server_info": b'{"version": "a/1.40.0", "state": "LIVE"}',
        "/config_dump": b"Unable to find type\n  envoy.x.v3.Thing",
    }


def test_text_that_is_no_json_is_quoted() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Speechless) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        with pytest.raises(
            SetupError, match=r'config_dump is no JSON.*; it says "Unable to find type envoy.x.v3.Thing"'
        ):
            fetch(f"127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_no_envoy_at_all() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        with pytest.raises(SetupError, match="is no Envoy's admin port"):
            fetch(f"127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    with pytest.raises(SetupError, match="does not answer"):
        fetch(f"127.0.0.1:{server.server_port}")
    for bad in ("file:///etc/passwd", "https://envoy:9901", "http://a:x", ""):
        with pytest.raises(SetupError, match="is no address of an admin port"):
            fetch(bad)
