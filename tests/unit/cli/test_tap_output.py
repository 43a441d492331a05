"""Lines of `extproc tap`: one for each request, problems once, nothing that a client can command a terminal with."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from extproc.admin.client import ReplicaTaps
from extproc.cli import tap_output
from extproc.cli.tap_output import print_requests, request_line
from extproc.errors import SetupError
from extproc.telemetry.tap import TapFilter, TapRecord
from tests.unit.cli.stub_servers import RECORD, admin_port

LINE = "03:04:05.678   200     123 ms  ttft   8.2       7→19 tok  llama v1 west  openai chat.completions"


def line(coloured: bool = False, **changed: Any) -> str:
    return request_line(msgspec.convert(RECORD | changed, TapRecord), coloured=coloured)


def test_a_request() -> None:
    assert " ".join(line().split()) == " ".join(LINE.split())


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"code": "0"}, " left "),
        ({"asked": "llama-3.1"}, "  (llama-3.1)"),
        ({"error": "cut_short"}, "  cut short"),
        ({"observed": False, "streamed": None, "output_tokens": None}, "chat.completions  not read"),
        ({"caller": "spiffe://a/b"}, "  from spiffe://a/b"),
        ({"output_tokens": None}, "  llama v1 west"),
        ({"input_tokens": None}, "–→19 tok"),  # noqa: RUF001
        ({"estimated": True}, "7→~19 tok"),
        ({"ms": None, "ttft_ms": None}, "– ms  ttft     –"),  # noqa: RUF001
        ({"version": "none", "gpu_pool": "none"}, "tok  llama  openai"),
        ({"api": "", "operation": ""}, "west  "),
    ],
)
def test_what_is_known_is_shown(changed: dict[str, Any], part: str) -> None:
    assert part in line(**changed)
    assert ("tok" in line(**changed)) is (changed.get("output_tokens", 19) is not None)


def test_a_processor_of_an_older_version_says_nothing_of_what_it_read() -> None:
    older = {name: value for name, value in RECORD.items() if name != "observed"}
    assert request_line(msgspec.convert(older, TapRecord)) == line()


def test_a_client_can_not_command_the_terminal() -> None:
    found = line(asked="\x1b[2J", caller="a\nb")
    assert "(\N{REPLACEMENT CHARACTER}[2J)" in found
    assert "a\N{REPLACEMENT CHARACTER}b" in found
    assert found.isprintable()


def test_colours_say_what_failed() -> None:
    assert "\x1b[32m 200\x1b[0m" in line(coloured=True)
    assert "\x1b[31m 503\x1b[0m" in line(coloured=True, code="503", failed=True)


class OpenTaps:
    """In the place of ``ReplicaTaps``: lines and problems as a test says."""

    def __init__(self, *lines: bytes, problems: dict[str, str] | None = None) -> None:
        self.buffer = self
        self.found = lines
        self.problems = problems or {}
        self.followed: list[object] = []

    def lines(self, beat: float) -> Iterator[bytes]:
        assert beat == 0.25
        return iter(self.found)

    def follow(self, replicas: list[object]) -> None:
        self.followed.append(replicas)


def test_lines_problems_and_lost_requests(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.dumps(RECORD).encode() + b"\n"
    taps = OpenTaps(b"\n", record, b'{"lost":3}\n', record, problems={"one": "127.0.0.1:1 has ended"})
    monkeypatch.setattr(tap_output, "ReplicaTaps", lambda _: taps)
    assert print_requests(["127.0.0.1:1"], TapFilter(), as_json=False) == 0
    printed = capsys.readouterr()
    assert [one.split()[0] for one in printed.out.splitlines()] == ["03:04:05.678"] * 2
    assert printed.err.splitlines() == [
        "extproc: 127.0.0.1:1 has ended; trying again",
        "extproc: 3 requests came too fast to be told",
    ]
    assert len(taps.followed) == 1, "addresses are resolved again only after five seconds"


def test_machines_get_the_lines_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taps = OpenTaps(b"\n", b'{"any": 1}\n', b'{"lost":3}\n')
    monkeypatch.setattr(tap_output, "ReplicaTaps", lambda _: taps)
    print_requests(["127.0.0.1:1"], TapFilter(), as_json=True)
    assert capsys.readouterr() == ('{"any": 1}\n{"lost":3}\n', "")


def test_an_address_that_can_not_be_understood() -> None:
    with pytest.raises(SetupError, match="is no admin port"):
        print_requests(["https://h:1"], TapFilter(), as_json=False)


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SetupError, match="nowhere:9090 is not known: Name or service not known"):
        print_requests(["nowhere"], TapFilter(), as_json=False)


def test_a_real_admin_port_is_tapped_with_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ReplicaTaps] = []
    printed: list[TapRecord] = []

    def taps(wanted: TapFilter) -> ReplicaTaps:
        made.append(ReplicaTaps(wanted))
        return made[0]

    def request_line(record: TapRecord, *, coloured: bool) -> str:
        printed.append(record)
        made[0].follow([])
        raise KeyboardInterrupt

    monkeypatch.setattr(tap_output, "ReplicaTaps", taps)
    monkeypatch.setattr(tap_output, "request_line", request_line)
    with admin_port(tap=json.dumps(RECORD).encode() + b"\n") as (address, paths), pytest.raises(KeyboardInterrupt):
        print_requests([address], TapFilter(model="llama*", min_ms=5.0), as_json=False)
    assert printed == [msgspec.convert(RECORD, TapRecord)]
    assert paths[0] == "/tap?model=llama%2A&min_ms=5.0"
