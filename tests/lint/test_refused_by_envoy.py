"""What the linter says that Envoy refuses, the real Envoy refuses; what it finds nothing in, it takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.gateway.envoy_binary import find_envoy
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.lint.corpus import CORPUS
from tests.policy_documents import load_texts, policy

pytestmark = pytest.mark.envoy


def said(manifest: str, directory: Path) -> str:
    """What Envoy says against the EnvoyFilters of a manifest, their patches applied; empty where it takes them."""
    text = (CORPUS / manifest).read_text()
    filters = [document for document in yaml.safe_load_all(text) if document["kind"] == "EnvoyFilter"]
    snapshot = load_texts([("policy.yaml", policy("models: [a]"))]).snapshot
    document = bootstrap(snapshot, EnvoyOptions(listen="127.0.0.1:0", admin="127.0.0.1:0", access_log=""))
    manager = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    for patch in (patch for found in filters for patch in found["spec"]["configPatches"]):
        _apply(patch, manager)
        if patch["applyTo"] == "CLUSTER":
            document["static_resources"]["clusters"].append(patch["patch"]["value"])
    file = directory / "bootstrap.json"
    file.write_text(json.dumps(document))
    command = [find_envoy(), "--mode", "validate", "-c", str(file), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # protobuf puts spaces into its messages at random, so that nobody relies on them.
    return " ".join((done.stderr + done.stdout).split()) if done.returncode else ""


def _apply(patch: dict[str, Any], manager: dict[str, Any]) -> None:
    """Here a filter goes to the front, or with ADD to the end."""
    operation, value = patch["patch"]["operation"], patch["patch"]["value"]
    if patch["applyTo"] == "HTTP_FILTER":
        loader = value.get("typed_config", {})
        service = loader.get("value", loader).get("grpc_service")
        if service:
            service["envoy_grpc"]["cluster_name"] = "aimesh-processor"
        manager["http_filters"].insert(99 if operation == "ADD" else 0, value)
    elif patch["applyTo"] == "VIRTUAL_HOST":
        manager["route_config"]["virtual_hosts"][0].update(value)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ("add", "must be the last filter"),
        ("duplex-without-trailers", "request_trailer_mode has to be set to SEND"),
        ("both-cache-settings", "can not be set to none-default at the same time"),
        ("no-type", "no such field: 'config'"),
        ("matcher-around-nothing", "TypedConfig: value is required"),
        ("not-disabled", "Disabled: value must equal true"),
        ("unknown-field", "message_timeouts"),
        ("misspelt-host", "request_body_buffer_limits"),
        ("no-duration", "message_timeout"),
        ("no-service", "grpc_service"),
        ("attribute-no-cel", "No overload found"),
        ("v3alpha", "v3alpha.ExternalProcessor"),
        ("misspelt-type", "ExternalProcesor"),
        ("version-two", "lua.v2.Lua"),
        ("cluster-twice", "duplicate cluster 'models-outside'"),
    ],
)
def test_envoy_refuses_it(manifest: str, why: str, tmp_path: Path) -> None:
    assert why in said(f"bad/{manifest}.yaml", tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        *("good/gateway", "good/buffered", "good/observer", "good/observer-in-a-matcher", "bad/wrong-filter-name"),
        *("good/typed-struct", "good/attributes", "bad/typed-struct", "bad/filter-twice", "bad/buffered-answers"),
    ],
)
def test_envoy_takes_it(manifest: str, tmp_path: Path) -> None:
    assert said(f"{manifest}.yaml", tmp_path) == ""
