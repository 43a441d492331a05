"""`extproc render envoy`: its flags, and a bootstrap on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.cli.main import main
from extproc.policy.session_tag import MCP, session_tag
from extproc.policyfile import loader
from extproc.policyfile.session_keys import read_session_keys
from tests import fast_yaml
from tests.policy_documents import policy
from tests.unit.cli.command_lines import flags, refused


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("models: [llama]\nhost: chat"))
    return str(file)


def rendered(capsys: pytest.CaptureFixture[str], path: str, words: str = "") -> Any:
    assert main(["render", "envoy", "-f", path, *words.split()]) == 0
    return fast_yaml.load(capsys.readouterr().out)


def manager(bootstrap: Any) -> Any:
    (listener,) = bootstrap["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def address(found: Any) -> tuple[str, int]:
    return found["socket_address"]["address"], found["socket_address"]["port_value"]


def test_defaults() -> None:
    assert flags("render", "envoy", "-f", "p") == {
        "file": [Path("p")],
        "listen": "127.0.0.1:8080",
        "envoy_admin": "127.0.0.1:9901",
        "processor": None,
        "body": "buffered",
        "fail_closed": False,
        "access_log": "/dev/stdout",
        "locality": "",
        "tracing": False,
        "session_key": None,
    }


def test_tags_are_made_with_the_first_key(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key there are none."""
    keys = tmp_path / "keys"
    keys.write_text("0123456789abcdef" * 2 + "\n" + "fedcba9876543210" * 2 + "\n")
    (key, _) = read_session_keys(keys)
    (target, *_) = loader.load([Path(path)]).snapshot.target_by_cluster.values()
    tag = session_tag(key, MCP, target, target.endpoints[0])
    assert tag in str(rendered(capsys, path, f"--session-key {keys}"))
    assert "aimesh.session" not in str(rendered(capsys, path))


def test_a_bootstrap_by_default(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = rendered(capsys, path)
    assert address(found["admin"]["address"]) == ("127.0.0.1", 9901)
    assert address(found["static_resources"]["listeners"][0]["address"]) == ("127.0.0.1", 8080)
    (endpoint,) = found["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert address(endpoint["endpoint"]["address"]) == ("127.0.0.1", 50051)
    route = next(f for f in manager(found)["http_filters"] if f["name"] == "aimesh.route")["typed_config"]
    assert (route["failure_mode_allow"], route["processing_mode"]["request_body_mode"]) == (True, "BUFFERED")
    assert manager(found)["access_log"][0]["typed_config"]["path"] == "/dev/stdout"


def test_every_flag(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--listen 0.0.0.0:80 --envoy-admin 127.0.0.1:1 --body streamed --fail-closed --tracing"
    found = rendered(capsys, path, f"{words} --processor unix:///s --processor 10.0.0.7:50051")
    assert address(found["admin"]["address"]) == ("127.0.0.1", 1)
    assert address(found["static_resources"]["listeners"][0]["address"]) == ("0.0.0.0", 80)
    endpoints = found["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoints[0]["endpoint"]["address"] == {"pipe": {"path": "/s"}}
    assert address(endpoints[1]["endpoint"]["address"]) == ("10.0.0.7", 50051)
    filters = {f["name"]: f["typed_config"] for f in manager(found)["http_filters"]}
    assert filters["aimesh.route"]["failure_mode_allow"] is False
    assert filters["aimesh.route"]["processing_mode"]["request_body_mode"] == "STREAMED"
    executed = filters["aimesh.observe"]["xds_matcher"]["on_no_match"]["action"]["typed_config"]["typed_config"]
    allowed = executed["typed_config"]["forward_rules"]["allowed_headers"]["patterns"]
    assert {"exact": "traceparent"} in allowed


def test_no_access_log_but_the_processors(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "envoy", "-f", path, "--access-log", ""]) == 0
    (ours,) = manager(fast_yaml.load(capsys.readouterr().out))["access_log"]
    assert ours["name"] == "envoy.access_loggers.http_grpc"


def test_pods_of_inference_pools_are_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    versions = (
        "[{name: v1, weight: 1, inferencePool: {name: llama}}, {name: v2, weight: 1, endpoints: ['10.0.0.1:80']}]"
    )
    path.write_text(policy(f"models: [llama]\nhost: chat\nport: 80\nversions: {versions}"))
    assert main(["render", "envoy", "-f", str(path)]) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert "pods of the InferencePool llama are found in Kubernetes only" in note
    assert note.endswith("for v1 this Envoy knows chat:80")
    path.write_text(policy("models: [llama]\nhost: chat"))
    assert main(["render", "envoy", "-f", str(path)]) == 0
    assert capsys.readouterr().err == ""


def test_bad_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--processor: 'h' is no address" in refused(capsys, "render", "envoy", "-f", "p", "--processor", "h")
    assert "--listen: ':80' is no address" in refused(capsys, "render", "envoy", "-f", "p", "--listen", ":80")
    assert "write 127.0.0.1:80 for this machine only" in refused(
        capsys, "render", "envoy", "-f", "p", "--envoy-admin", "localhost:80"
    )
    assert "--body: invalid choice: 'all'" in refused(capsys, "render", "envoy", "-f", "p", "--body", "all")


def test_a_bad_policy_renders_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "envoy", "-f", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().out == ""
