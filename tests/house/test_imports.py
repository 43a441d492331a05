"""Imports go downwards from package to package only, and every rule on imports bites."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from tests.house.tree import LINKERD_ADAPTER_MAY_IMPORT, ONLY, PACKAGES, ROOT, SANS_IO, modules, problems


def test_the_tree_keeps_every_rule() -> None:
    assert problems(ROOT) == []


def test_the_tables_name_nothing_twice_and_nothing_that_is_gone() -> None:
    known = modules(ROOT)
    here = {name.split(".")[1] for name in known if name.startswith("extproc.")} | {"_pb"}
    assert len(set(PACKAGES)) == len(PACKAGES)
    assert set(PACKAGES) == here
    assert here >= LINKERD_ADAPTER_MAY_IMPORT | set(SANS_IO)
    short = {name.removeprefix("extproc.") for name in known}
    assert [n for users in ONLY.values() for n in users if "*" not in n and n not in short] == []


Build = Callable[[dict[str, str]], list[str]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Makes a tree of the given files and says what is wrong with it."""

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
    "extproc/headers.py": "import re",
    "extproc/apis/__init__.py": "from extproc.apis import openai",
    "extproc/apis/openai.py": "from extproc.headers import Headers\nfrom . import row",
    "extproc/apis/row.py": "from urllib.parse import unquote",
    "extproc/envoy/codec.py": "from extproc._pb import ext_proc_pb2\nimport google.protobuf",
    "extproc/grpc_server/grpcio_server.py": "import grpc.aio, time\nfrom extproc import headers",
    "extproc/policyfile/loader.py": "import yaml",
    "extproc/policyfile/fields.py": "from extproc.policyfile import loader",
    "linkerd-adapter/linkerd_adapter/__init__.py": "",
    "linkerd-adapter/linkerd_adapter/cli.py": "from extproc.policyfile import loader\nfrom . import lint",
    "linkerd-adapter/linkerd_adapter/lint.py": "import yaml",
}


def test_a_sound_tree(build: Build) -> None:
    assert build(SOUND) == []


@pytest.mark.parametrize(("lower", "higher"), list(combinations([p for p in PACKAGES if p != "_pb"], 2)))
def test_an_upward_import_between_any_two_packages_is_seen(lower: str, higher: str, build: Build) -> None:
    found = build(
        {
            "extproc/__init__.py": "",
            f"extproc/{lower}/planted.py": f"from extproc.{higher}.planted import thing",
            f"extproc/{higher}/planted.py": "thing = 1",
        }
    )
    assert found == [f"extproc.{lower}.planted: imports extproc.{higher}.planted, and {higher} stands above {lower}"]


@pytest.mark.parametrize(
    ("file", "code", "problem"),
    [
        ("extproc/newcomer/a.py", "", "extproc.newcomer.a: its package is not in PACKAGES"),
        (
            "extproc/apis/deep/down.py",
            "import grpc",
            "extproc.apis.deep.down: imports grpc, which is for grpc_server.*, demo.pipeline.* only",
        ),
        (
            "extproc/headers.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from extproc.envoy.codec import decode",
            "extproc.headers: imports extproc.envoy.codec, and envoy stands above headers",
        ),
        (
            "extproc/headers.py",
            "def late():\n    from extproc.apis import row",
            "extproc.headers: imports extproc.apis.row, and apis stands above headers",
        ),
        (
            "extproc/envoy/codec.py",
            "import importlib\nimportlib.import_module('extproc.policyfile.loader')",
            "extproc.envoy.codec: imports extproc.policyfile.loader, and policyfile stands above envoy",
        ),
        ("extproc/headers.py", "from time import monotonic", "extproc.headers: a sans-I/O package imports time"),
        ("extproc/http2/a.py", "def f(): import os.path", "extproc.http2.a: a sans-I/O package imports os.path"),
        ("extproc/exchange/a.py", "print('here')", "extproc.exchange.a: a sans-I/O package calls print()"),
        (
            "extproc/exchange/a.py",
            "from extproc._pb import ext_proc_pb2",
            f"extproc.exchange.a: imports extproc._pb.ext_proc_pb2, which is for {', '.join(ONLY['extproc._pb'])} only",
        ),
        (
            "extproc/render/istio.py",
            "import envoy_data_plane",
            "extproc.render.istio: imports envoy_data_plane, which is for tests only",
        ),
        (
            "linkerd-adapter/linkerd_adapter/lint.py",
            "from extproc.grpc_server import create",
            "linkerd_adapter.lint: imports extproc.grpc_server, and linkerd_adapter may not import grpc_server",
        ),
        ("extproc/cli/a.py", "import linkerd_adapter.lint", "extproc.cli.a: imports linkerd_adapter.lint"),
        ("extproc/apis/row.py", "from extproc import apis", "a cycle: "),
        ("extproc/policyfile/loader.py", "import extproc.policyfile.fields", "a cycle: "),
    ],
)
def test_a_violation_is_seen(build: Build, file: str, code: str, problem: str) -> None:
    found = build({**SOUND, file: code})
    assert len(found) == 1, found
    assert found[0].startswith(problem)
