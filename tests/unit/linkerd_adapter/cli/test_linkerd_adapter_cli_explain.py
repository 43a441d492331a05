"""``linkerd-adapter explain``: JSON on stdout, of our own rendering or of a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from linkerd_adapter.cli.main import main


def test_explain_writes_json(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--path", "/v1/chat/completions", "--body", '{"model": "m"}', "-H", "x-user-id: ann"]
    assert main(["explain", "-f", str(policy), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decision"]["cohort"] == "sticky"
    assert found["backend"] == f"chat-{found['decision']['version']}.ai:8080"
    live = policy.with_name("live.yaml")
    live.write_text(
        "{kind: List, items: [{apiVersion: v1, kind: Service, metadata: {name: x, namespace: ai}, spec: {}}]}"
    )
    assert main(["explain", "-f", str(policy), *words, "--from-live", str(live)]) == 0
    assert json.loads(capsys.readouterr().out)["reason"].startswith("no HTTPRoute counts: there is no Service chat.ai")


def test_what_kubectl_said_must_be_readable(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = policy.with_name("live.yaml")
    live.write_text("a: [")
    assert main(["explain", "-f", str(policy), "--path", "/", "--from-live", str(live)]) != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"linkerd-adapter: {live} is no YAML: ")


def test_clients_in_the_gateways_namespace_follow_its_routes(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A consumer route counts for the namespace that --namespace names."""
    live = policy.with_name("live.yaml")
    parent = {"group": "", "kind": "Service", "name": "chat", "namespace": "ai", "port": 8080}
    accepted = {"parentRef": parent, "conditions": [{"type": "Accepted", "status": "True"}]}
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "edge"},
        "spec": {"parentRefs": [parent], "rules": [{"backendRefs": [{"name": "chat-v2", "port": 8080}]}]},
        "status": {"parents": [accepted]},
    }
    live.write_text(json.dumps(route))
    words = ["explain", "-f", str(policy), "--path", "/v1/chat/completions", "--body", '{"model": "m"}']
    for namespace, backend in (("edge", "chat-v2.ai:8080"), ("other", "chat.ai:8080")):
        assert main([*words, "--from-live", str(live), "--namespace", namespace]) == 0
        assert json.loads(capsys.readouterr().out)["backend"] == backend
