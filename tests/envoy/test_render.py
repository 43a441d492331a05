"""What is rendered: Envoy itself takes it, and it says what the policy says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from extproc.gateway.envoy_binary import find_envoy
from extproc.policy.snapshot import Policy, RetryBudget, Snapshot, Version
from extproc.policy.upstream import PathRewrite, Tls, Upstream
from extproc.render.document import to_yaml
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.render.envoy.envoy_options import SYSTEM_AUTHORITIES as AUTHORITIES

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
BEHIND_TLS = Policy(
    "tls",
    host="h",
    versions=(
        Version("v1", 1, ("a.example:443",), upstream=Upstream(Tls(AUTHORITIES, server_name="b.example"))),
        Version("v2", 2, ("a.example:443", "[::1]:443"), upstream=Upstream(Tls(), PathRewrite("/v1", "/a.b/v1"))),
        Version("v3", 0, ("10.0.0.1:443",), mirror=5, upstream=Upstream(Tls(verify=False))),
    ),
)
SNAPSHOTS = {
    "behind TLS": Snapshot((BEHIND_TLS,)),
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
