"""Imports go down only, and every rule of the house bites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.house import FLOORS, ROOT, modules, problems, short


def test_the_house_stands() -> None:
    assert problems(ROOT) == []


def test_the_table_names_nothing_twice_and_no_ghost() -> None:
    names = [name for row in FLOORS.values() for name in row]
    assert sorted(set(names)) == sorted(names)
    known = {short(module) for module in modules(ROOT)}
    assert [name for name in names if "*" not in name and name not in known] == []


Build = Callable[[dict[str, str]], list[str]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Makes a house of the given files and says what is wrong with it."""

    def make(files: dict[str, str]) -> list[str]:
        for name, code in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        return problems(tmp_path)

    return make


SOUND = {
    "extproc/__init__.py": "",
    "extproc/_pb/ext_proc_pb2.py": "import google.protobuf",
    "extproc/apis/__init__.py": "from extproc.apis import openai",
    "extproc/apis/openai.py": "from extproc.headers import Headers\nfrom . import row",
    "extproc/apis/row.py": "from urllib.parse import unquote",
    "extproc/envoy/codec.py": "from extproc._pb import ext_proc_pb2\nimport google.protobuf, time",
    "extproc/engine.py": "import grpc.aio\nfrom extproc import codec",
    "extproc/headers.py": "import re",
    "linkerd-adapter/linkerd_adapter/__init__.py": "",
    "linkerd-adapter/linkerd_adapter/cli.py": "from extproc import codec\nfrom . import lint",
    "linkerd-adapter/linkerd_adapter/lint.py": "import yaml",
}


def test_a_sound_house(build: Build) -> None:
    assert build(SOUND) == []


@pytest.mark.parametrize(
    ("file", "code", "problem"),
    [
        ("extproc/newcomer.py", "", "extproc.newcomer: on no floor; add it to FLOORS"),
        (
            "extproc/apis/deep/down.py",
            "import grpc",
            "extproc.apis.deep.down: imports grpc, which is for engine, engine.* only",
        ),
        (
            "extproc/headers.py",
            "import extproc.envoy.codec",
            "extproc.headers (up to floor 0): imports extproc.envoy.codec (floor 4)",
        ),
        (
            "extproc/headers.py",
            "from .apis import row",
            "extproc.headers (up to floor 0): imports extproc.apis.row (floor 2)",
        ),
        (
            "extproc/headers.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from extproc.exchange.route import Stream",
            "extproc.headers (up to floor 0): imports extproc.exchange.route (floor 3)",
        ),
        (
            "extproc/headers.py",
            "def late():\n    from extproc import engine",
            "extproc.headers (up to floor 0): imports extproc.grpc_server (floor 5)",
        ),
        (
            "extproc/envoy/codec.py",
            "import importlib\nimportlib.import_module('extproc.cli.main')",
            "extproc.envoy.codec (up to floor 4): imports extproc.cli.main (floor 6)",
        ),
        ("extproc/headers.py", "from time import monotonic", "extproc.headers: the core imports time"),
        ("extproc/policy/decision.py", "def f(): import os.path", "extproc.policy.decision: the core imports os.path"),
        ("extproc/exchange/observe.py", "print('here')", "extproc.exchange.observe: the core calls print()"),
        (
            "extproc/exchange/route.py",
            "import grpc",
            "extproc.exchange.route: imports grpc, which is for engine, engine.* only",
        ),
        (
            "extproc/exchange/route.py",
            "from extproc._pb import ext_proc_pb2",
            "extproc.exchange.route: imports extproc._pb.ext_proc_pb2, which is for codec, health only",
        ),
        (
            "extproc/exchange/route.py",
            "from google.protobuf import struct_pb2",
            "extproc.exchange.route: imports google.protobuf, which is for codec, health only",
        ),
        (
            "extproc/serve/server.py",
            "from prometheus_client import Counter",
            "extproc.serve.server: imports prometheus_client, which is for metrics, series, admin, demo.* only",
        ),
        (
            "extproc/render/istio/manifests.py",
            "import envoy_data_plane",
            "extproc.render.istio.manifests: imports envoy_data_plane, which is for tests only",
        ),
        (
            "extproc/gateway/up.py",
            "import aiohttp",
            "extproc.gateway.up: imports aiohttp, which is for bench, demo.* only",
        ),
        (
            "linkerd-adapter/linkerd_adapter/lint.py",
            "from extproc.grpc_server import Engine",
            "linkerd_adapter.lint (up to floor 4): imports extproc.grpc_server (floor 5)",
        ),
        ("extproc/cli/main.py", "import linkerd_adapter.lint", "extproc.cli.main: imports linkerd_adapter.lint"),
        ("extproc/apis/row.py", "from extproc import apis", "a cycle: "),
        ("extproc/envoy/codec.py", "import extproc.policyfile.loader", "a cycle: "),
    ],
)
def test_a_violation_is_seen(build: Build, file: str, code: str, problem: str) -> None:
    found = build({**SOUND, "extproc/policyfile/loader.py": "from extproc import codec", file: code})
    assert len(found) == 1, found
    assert found[0].startswith(problem)
