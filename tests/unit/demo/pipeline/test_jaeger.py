"""Jaeger beside the pipeline: which one is taken, what is read of its API, what is said where it does not start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from extproc.demo.http_server import serving
from extproc.demo.pipeline import jaeger as module
from extproc.demo.pipeline.jaeger import Jaeger, Stored, built, find
from extproc.errors import SetupError

TRACE = {
    "spans": [
        {"spanID": "01", "processID": "p1", "references": []},
        {"spanID": "02", "processID": "p2", "references": [{"refType": "CHILD_OF", "traceID": "ab", "spanID": "01"}]},
        {"spanID": "03", "processID": "p2", "references": [{"refType": "FOLLOWS_FROM", "traceID": "c", "spanID": "9"}]},
    ],
    "processes": {"p1": {"serviceName": "client"}, "p2": {"serviceName": "gateway"}},
}


def ask(status: int = 200, dependencies: Any = ()) -> Stored:
    """What is made of a Jaeger that has the trace ``ab``."""

    async def trace(request: web.Request) -> web.Response:
        if request.match_info["id"] != "ab":
            raise web.HTTPNotFound
        return web.json_response({"data": [TRACE]}, status=status)

    async def graph(request: web.Request) -> web.Response:
        assert int(request.query["endTs"]) > 10**12 > int(request.query["lookback"])
        return web.json_response({"data": dependencies})

    async def main() -> Stored:
        async with serving([web.get("/api/traces/{id}", trace), web.get("/api/dependencies", graph)]) as endpoint:
            return await Jaeger("127.0.0.1:1", endpoint).stored(["ab", "cd"])

    return asyncio.run(main())


def test_what_it_has() -> None:
    calls = [{"parent": parent, "child": "gateway", "callCount": 2} for parent in ("client", "gateway")]
    stored = ask(dependencies=calls)
    assert stored.links == {
        "ab": {("01", "", "client"), ("02", "01", "gateway"), ("03", "", "gateway")},
        "cd": frozenset(),
    }
    assert stored.graph == {("client", "gateway")}
    assert ask(dependencies=None).graph == frozenset()


def test_one_that_fails_is_said() -> None:
    with pytest.raises(SetupError, match="Jaeger does not tell what it has"):
        ask(status=500)


def test_which_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find() is None
    for program in (built(), tmp_path / "bin" / "jaeger", tmp_path / "mine"):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(0o755)
        if program.name == "mine":
            monkeypatch.setenv(module.VARIABLE, str(program))
        assert find() == str(program)
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(SetupError, match=r"EXTPROC_JAEGER names .*gone'"):
        find()


def test_one_that_does_not_start_is_said(tmp_path: Path) -> None:
    program = tmp_path / "jaeger"
    program.write_text('#!/bin/sh\necho "no such storage" >&2\nexit 3\n')
    program.chmod(0o755)

    async def main() -> None:
        async with Jaeger.running(str(program), tmp_path):
            pass

    with pytest.raises(SetupError, match=r"Jaeger ended with .*3(.|\n)*no such storage"):
        asyncio.run(main())
