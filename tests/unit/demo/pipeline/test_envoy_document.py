"""The pipeline's Envoy: the router is as rendered, and every listener traces under its service's name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.demo.pipeline.envoy_document import document
from extproc.demo.pipeline.stages import GATEWAY, LLM, PREPROCESS, ROUTER, SIDECARS, free
from extproc.policyfile import loader
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.unit.demo.pipeline.scene import POLICY

SNAPSHOT = loader.load([POLICY]).snapshot
AT = free()
APPS = {name: f"127.0.0.1:{port}" for port, name in enumerate(SIDECARS, 1)}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    found: dict[str, Any] = document(SNAPSHOT, AT, APPS, "unix:///p.sock", "127.0.0.1:4317", "/dev/null")
    return found


def managers(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Connection managers by the name under which they trace."""
    found = {}
    for listener in made["static_resources"]["listeners"]:
        (chain,) = listener["filter_chains"]
        manager = chain["filters"][0]["typed_config"]
        name = manager["tracing"]["provider"]["typed_config"]["service_name"]
        found[f"{name} {listener.get('traffic_direction', 'UNSPECIFIED')}"] = manager
    return found


def test_every_listener_traces_under_its_services_name(made: dict[str, Any]) -> None:
    assert managers(made).keys() == {
        f"{GATEWAY} UNSPECIFIED",
        f"{ROUTER} UNSPECIFIED",
        f"{PREPROCESS} OUTBOUND",
        *(f"{name} INBOUND" for name in SIDECARS),
    }


def test_the_router_is_as_rendered_but_for_its_tracing(made: dict[str, Any]) -> None:
    options = EnvoyOptions(
        listen=AT.router,
        admin=AT.admin,
        processors=("unix:///p.sock",),
        cluster="extproc",
        message_timeout=30.0,
        access_log="/dev/null",
    )
    ours = json.loads(json.dumps(made["static_resources"]["listeners"][0]))
    del ours["filter_chains"][0]["filters"][0]["typed_config"]["tracing"]
    rendered = bootstrap(SNAPSHOT, options)["static_resources"]
    assert ours == rendered["listeners"][0]
    assert made["static_resources"]["clusters"][: len(rendered["clusters"])] == rendered["clusters"]


def test_a_models_sidecar_tells_what_the_processor_has_set(made: dict[str, Any]) -> None:
    tags = {
        name: {tag["tag"]: tag["request_header"]["name"] for tag in manager["tracing"]["custom_tags"]}
        for name, manager in managers(made).items()
        if name.endswith("INBOUND")
    }
    assert tags[f"{LLM} INBOUND"] == {
        "gen_ai.request.model": "x-model-name",
        "aimesh.version": "x-model-version",
        "aimesh.gpu_pool": "x-gpu-pool",
    }
    assert tags[f"{PREPROCESS} INBOUND"] == {}


def test_every_cluster_that_is_named_is_there(made: dict[str, Any]) -> None:
    known = {cluster["name"] for cluster in made["static_resources"]["clusters"]}
    named = {
        route["route"]["cluster"]
        for manager in managers(made).values()
        for host in manager["route_config"]["virtual_hosts"]
        for route in host["routes"]
        if "cluster" in route.get("route", {})
    }
    assert named <= known
    assert {PREPROCESS, f"{LLM}-app", ROUTER} <= named
