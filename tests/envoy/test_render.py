"""What is rendered: Envoy itself takes it, and it says what the policy says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from extproc.errors import SetupError
from extproc.gateway.embedded_envoy import find_envoy
from extproc.headers import safe_value
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, RetryBudget, Snapshot, Target, Version
from extproc.render.document import to_yaml
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap, file_discovery_bootstrap
from extproc.render.envoy.envoy_options import address, seconds
from extproc.render.envoy.routes import route_configuration

ARTICLE = Snapshot((Policy("article", host="model.svc", timeout=60.0, retry_budget=RetryBudget(0.25, 10)),))
CANARY = Policy(
    "canary",
    host="apex.svc",
    models=("llama", "llama-*", "ünï ✓"),
    versions=(Version("v1", 90, ("10.0.0.1:1",)), Version("v2", 10, ("10.0.0.2:1", "10.0.0.3:1")), Version("v3", 0)),
)
GLOBS = Snapshot(
    (Policy("odd", host="h", models=("a.b^[c]\\d$(e){f}|g+?", "*x*", "x-*-y")), CANARY, Policy("rest", host="r"))
)
MANY = Snapshot((Policy("many", host="h", models=tuple(f"meta-llama/Llama-3.1-{n}B-Instruct" for n in range(1000))),))
MIRRORED = Snapshot(
    (
        Policy(
            "p",
            host="h",
            versions=(Version("v1", 9), Version("v2", 1), Version("m", 0, ("a:1", "b:1"), mirror=33)),
            default="v2",
            path_prefixes=("/team-a",),
        ),
    )
)
SNAPSHOTS = {
    "many": MANY,
    "mirrored": MIRRORED,
    "named like numbers": Snapshot(
        (Policy("y", host="h", models=("2e5",), versions=(Version("n"), Version("3e12345"))),)
    ),
    "article": ARTICLE,
    "canary": Snapshot((CANARY,)),
    "globs": GLOBS,
    "nothing": Snapshot(),
}


def routes(snapshot: Snapshot, body: Literal["streamed", "buffered"] = "streamed") -> list[dict[str, Any]]:
    """All but those for gRPC: each has its twin in front."""
    found: list[dict[str, Any]] = route_configuration(snapshot, EnvoyOptions(body=body))["virtual_hosts"][0]["routes"]
    return [route for route in found if "grpc" not in route["match"]]


@pytest.mark.envoy
@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
@pytest.mark.parametrize(
    "options",
    [
        EnvoyOptions(),
        EnvoyOptions(body="buffered", fail_open=False, observe=False, access_log=""),
        EnvoyOptions(processors=("unix:///tmp/a.sock", "unix:///tmp/b.sock"), listen="[::1]:8080"),
        EnvoyOptions(processors=("processor.svc:50051", "10.0.0.1:50051"), message_timeout=0.2),
    ],
    ids=["default", "careful", "unix", "remote"],
)
def test_envoy_takes_it(snapshot: Snapshot, options: EnvoyOptions, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(to_yaml(bootstrap(snapshot, options)))
    run = subprocess.run(
        [find_envoy(), "--mode", "validate", "-c", str(file)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "deprecated" not in run.stderr.lower()


def test_yaml_says_the_same() -> None:
    document = bootstrap(GLOBS, EnvoyOptions())
    assert yaml.safe_load(to_yaml(document)) == document


def test_weights_follow_versions_and_endpoints() -> None:
    last = routes(Snapshot((CANARY,)))[-1]
    assert last["match"] == {"prefix": "/"}
    weighted = last["route"]["weighted_clusters"]["clusters"]
    assert weighted == [{"name": "canary/v1", "weight": 180}, {"name": "canary/v2", "weight": 20}]


def test_weights_of_any_size_fit_into_a_route() -> None:
    versions = (Version("a", 3 << 40, ("a:1",)), Version("b", 1 << 40, ("b:1",)), Version("c", 1, ("c:1",)))
    last = routes(Snapshot((Policy("p", versions=versions),)))[-1]["route"]["weighted_clusters"]["clusters"]
    a, b, c = (cluster["weight"] for cluster in last)
    assert a + b + c < 1 << 32
    assert a / b == pytest.approx(3)
    assert c == 1


def test_pools_share_a_version_by_their_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot((Policy("p", versions=(Version("v1", 3),)),))
    targets = (Target("p", "v1", "big", ("a:1", "b:1")), Target("p", "v1", "small", ("c:1",)))
    monkeypatch.setitem(snapshot.__dict__, "targets", {("p", "v1"): targets})
    assert [r["route"].get("cluster") for r in routes(snapshot)] == ["p/v1/big", "p/v1/small", None, None]
    weights = [c["weight"] for c in routes(snapshot)[-1]["route"]["weighted_clusters"]["clusters"]]
    assert weights == [6, 3]


def test_every_route_has_its_twin_for_grpc_in_front() -> None:
    every = route_configuration(MIRRORED, EnvoyOptions(body="streamed"))["virtual_hosts"][0]["routes"]
    assert len(every) % 2 == 0
    names = {cluster["name"] for cluster in bootstrap(MIRRORED, EnvoyOptions())["static_resources"]["clusters"]}
    for grpc, other in zip(every[::2], every[1::2], strict=True):
        assert grpc["match"].pop("grpc") == {}
        assert grpc["match"] == other["match"]
        assert grpc["route"].pop("cluster") == other["route"].pop("cluster") + "#grpc"
        (copy,), (plain,) = (r["route"].pop("request_mirror_policies") for r in (grpc, other))
        assert copy.pop("cluster") == plain.pop("cluster") + "#grpc"
        assert {"p/m", "p/m#grpc"} < names
        assert (copy, grpc["route"]) == (plain, other["route"])


def test_retries_are_only_where_no_body_can_be_sent_twice() -> None:
    every = route_configuration(ARTICLE, EnvoyOptions(body="buffered"))["virtual_hosts"][0]["routes"]
    assert [("retry_on" in r["route"]["retry_policy"], "grpc" in r["match"]) for r in every] == [
        (False, True),
        (True, False),
    ] * 2
    assert [r["route"]["retry_policy"] for r in routes(ARTICLE)] == [{"per_try_timeout": "60s"}] * 2
    assert [r["route"].get("retry_policy") for r in routes(Snapshot((CANARY,)))] == [None] * len(
        routes(Snapshot((CANARY,)))
    )


@pytest.mark.parametrize(
    "document", [bootstrap(ARTICLE, EnvoyOptions()), file_discovery_bootstrap(EnvoyOptions(), "/d")]
)
def test_memory_and_connections_have_bounds(document: dict[str, Any]) -> None:
    manager = document["overload_manager"]
    heap, connections = (monitor["typed_config"] for monitor in manager["resource_monitors"])
    assert heap["max_heap_size_bytes"] == 2 << 30
    assert connections["max_active_downstream_connections"] == 50_000
    thresholds = {action["name"].rpartition(".")[2]: action["triggers"][0] for action in manager["actions"]}
    assert thresholds.keys() == {
        *("shrink_heap", "reduce_timeouts", "reset_high_memory_stream", "stop_accepting_requests")
    }
    assert {trigger["name"] for trigger in thresholds.values()} == {"envoy.resource_monitors.fixed_heap"}


def test_the_default_is_where_the_fallback_goes() -> None:
    assert [r["route"]["cluster"] for r in routes(MIRRORED)] == ["p/v1", "p/v2", "p/v2", "p/v2"]


def test_a_mirrors_share_is_spread_over_its_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot((Policy("p", versions=(Version("v1", 1, ("x:1",)), Version("m", 0, mirror=30))),))
    targets = {
        ("p", "v1"): (Target("p", "v1", "", ("x:1",)),),
        ("p", "m"): (Target("p", "m", "big", ("a:1", "b:1")), Target("p", "m", "small", ("c:1",))),
    }
    monkeypatch.setitem(snapshot.__dict__, "targets", targets)
    copies = routes(snapshot)[-1]["route"]["request_mirror_policies"]
    shares = {c["cluster"]: c["runtime_fraction"]["default_value"]["numerator"] for c in copies}
    assert shares == {"p/m/big": 200_000, "p/m/small": 100_000}


def test_a_policy_that_nothing_can_serve_is_503() -> None:
    pool = GpuPool("west", Gpu(architecture="a100", memory=40960), ("a:1",))
    picky = Policy("p", models=("m",), versions=(Version("v1"),), gpu=Requirement(architecture="h100"))
    snapshot = Snapshot((picky,), (pool,))
    assert [r["direct_response"] for r in routes(snapshot)] == [{"status": 503}] * 2
    assert len(bootstrap(snapshot, EnvoyOptions())["static_resources"]["clusters"]) == 1


@pytest.mark.parametrize(
    ("model", "cluster"),
    [
        ("llama", "canary"),
        ("llama-3", "canary"),
        ("ünï ✓", "canary"),
        ("a.b^[c]\\d$(e){f}|g+?", "odd"),
        ("x-1-y", "odd"),
        ("llama-x", "canary"),
        ("aXb", "rest"),
        ("axb", "odd"),
    ],
)
def test_routes_and_policy_agree_on_the_owner_of_a_model(model: str, cluster: str) -> None:
    """The order and the patterns of the routes are those of `View.match`, also for text that a regex would mind."""
    match = GLOBS.match(model)
    assert match is not None
    assert match.policy.name == cluster
    value = safe_value(model)
    for route in routes(GLOBS):
        conditions = route["match"].get("headers", [])
        if all(_holds(c, value) for c in conditions) and _is_policys(route, match.policy):
            names = route["route"].get("cluster") or route["route"]["weighted_clusters"]["clusters"][0]["name"]
            assert names.split("/")[0] == cluster
            return
    pytest.fail("no route")


def _is_policys(route: dict[str, Any], policy: Policy) -> bool:
    wanted = route["match"].get("dynamic_metadata", [])
    return all(w["value"]["string_match"]["exact"] == policy.name for w in wanted)


def _holds(condition: dict[str, Any], model: str) -> bool:
    if condition["name"] != "x-model-name":
        return False
    text = condition["string_match"]
    return text["exact"] == model if "exact" in text else bool(re.fullmatch(text["safe_regex"]["regex"], model))


@pytest.mark.parametrize("text", ["8080", "host:", ":8080", "host:x", "host:70000"])
def test_a_bad_address_is_named(text: str) -> None:
    with pytest.raises(SetupError, match=re.escape(repr(text))):
        address(text)


def test_durations_are_written_as_envoy_reads_them() -> None:
    assert [seconds(s) for s in (0.2, 60.0, 0.0001, 1e-9, 100)] == ["0.2s", "60s", "0.0001s", "0.000000001s", "100s"]
