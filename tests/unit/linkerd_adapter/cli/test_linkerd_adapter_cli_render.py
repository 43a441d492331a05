"""``linkerd-adapter render``: manifests on stdout, notes on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.cli.main import main

from tests import fast_yaml
from tests.unit.linkerd_adapter.cli.conftest import POLICY


def test_render_writes_manifests_and_notes(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["render", "-f", str(policy), "--image", "registry/x:1", "--target-port", "8000", "--replicas", "3"]) == 0
    )
    out, err = capsys.readouterr()
    docs = list(fast_yaml.load_all(out))
    by_kind = {doc["kind"]: doc for doc in docs}
    assert {"HTTPRoute", "Deployment", "Server", "AuthorizationPolicy", "PodDisruptionBudget"} <= set(by_kind)
    deployment = by_kind["Deployment"]["spec"]
    assert deployment["replicas"] == 3
    images = [container["image"] for container in deployment["template"]["spec"]["containers"]]
    assert images[1] == "registry/x:1"
    assert by_kind["Server"]["spec"]["port"] == 8000
    assert next(doc["data"] for doc in docs if doc["kind"] == "ConfigMap") == {"policy.yaml": POLICY}
    assert err == (
        "linkerd-adapter: note: policy chat: Linkerd copies no requests; the gateway's Envoy sends those for new\n"
    )


def test_where_the_gateway_goes_is_told_or_found(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, where in (([], ("ai", "inference-gateway")), (["--namespace", "edge", "--name", "gw"], ("edge", "gw"))):
        assert main(["render", "-f", str(policy), *words]) == 0
        docs = list(fast_yaml.load_all(capsys.readouterr().out))
        places = {(d["metadata"]["namespace"], d["metadata"]["name"]) for d in docs if d["kind"] == "Deployment"}
        assert places == {where}
        assert {d["metadata"]["namespace"] for d in docs if d["kind"] == "HTTPRoute"} == {"ai"}


def test_options_reach_the_manifests(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--app-protocol", "kubernetes.io/h2c", "--target-port", "grpc", "--audit", "--envoy-image", "envoy:1"]
    assert main(["render", "-f", str(policy), *words]) == 0
    out, err = capsys.readouterr()
    docs = list(fast_yaml.load_all(out))
    ports = [
        doc["spec"]["ports"][0] for doc in docs if doc["kind"] == "Service" and doc["metadata"]["name"] == "chat-v1"
    ]
    assert ports == [{"name": "http", "port": 8080, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}]
    assert [doc["spec"]["accessPolicy"] for doc in docs if doc["kind"] == "Server"] == ["audit"]
    (deployment,) = [doc for doc in docs if doc["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "envoy:1"
    assert "WebSockets" in err


@pytest.mark.parametrize("words", [["--app-protocol", "grpc"], ["--replicas", "x"], ["--replicas", "-1"]])
def test_options_that_are_none(words: list[str], policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["render", "-f", str(policy), *words])
    assert left.value.code == 2
    assert words[0] in capsys.readouterr().err
