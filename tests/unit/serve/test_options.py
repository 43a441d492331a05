"""Options of a processor: the command line that says the same, and the addresses of several workers."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cli.main import parser
from extproc.errors import SetupError
from extproc.serve.options import ServeOptions, nth_address, spread_addresses

EVERY = ServeOptions(
    policies=(Path("a.yaml"), Path("folder")),
    kubernetes=True,
    namespace=("ai", "team"),
    inference_pool=("ai/llama",),
    inference_pools_of=("ai/picker",),
    snapshot_directory=Path("kept"),
    listen=("127.0.0.1:5", "unix:///p.sock"),
    admin="127.0.0.1:6",
    drain=1.5,
    grace=2.5,
    workers=3,
    max_streams=7,
    keepalive=8.5,
    engine="aio",
    locality="us-west1/a",
    otlp="http://collector:4317",
    tls_cert=Path("tls.crt"),
    tls_key=Path("tls.key"),
    tls_client_ca=Path("ca.crt"),
    session_key=Path("/keys"),
    supervised=True,
    siblings=3,
    board=9,
    board_row=2,
)


def parsed(words: list[str]) -> dict[str, object]:
    arguments: argparse.Namespace = parser().parse_args(words)
    names = {field.name for field in msgspec.structs.fields(ServeOptions)} - {"policies"}
    return {name: getattr(arguments, name) for name in names} | {"policies": tuple(arguments.file)}


def test_the_command_line_says_every_option() -> None:
    said = parsed(EVERY.arguments())
    lists = {name: list(value) for name, value in msgspec.structs.asdict(EVERY).items() if isinstance(value, tuple)}
    assert said | {"policies": list(EVERY.policies)} == msgspec.structs.asdict(EVERY) | lists
    defaults = msgspec.structs.asdict(ServeOptions(policies=()))
    assert not [name for name, value in msgspec.structs.asdict(EVERY).items() if value == defaults[name]]


def test_what_is_not_set_is_not_said() -> None:
    words = ServeOptions(policies=(Path("a.yaml"),)).arguments()
    unset = ("--tls", "--otlp", "--kubernetes", "--namespace", "--snapshot")
    assert [word for word in words if word.startswith(unset)] == []
    assert words[:5] == ["serve", "-f", "a.yaml", "--listen", "127.0.0.1:50051"]


def test_a_worker_is_one_process_on_addresses_of_its_own() -> None:
    worker = EVERY.for_worker(2, "unix:///3.sock")
    assert not ServeOptions().supervised
    assert ServeOptions().for_worker(0, "unix:///1.sock").supervised
    assert (worker.listen, worker.admin, worker.workers) == (
        ("127.0.0.1:7", "unix:///p.sock-3"),
        "unix:///3.sock",
        1,
    )
    same = {"listen": EVERY.listen, "admin": EVERY.admin, "workers": EVERY.workers}
    assert msgspec.structs.replace(worker, **same) == EVERY


@given(st.integers(1, 60000), st.integers(2, 64))
def test_no_two_workers_share_an_address(port: int, workers: int) -> None:
    listen = (f"127.0.0.1:{port}", "unix:///p.sock")
    every = spread_addresses(listen, workers)
    assert len(set(every)) == 2 * workers
    assert every == tuple(nth_address(one, number) for number in range(workers) for one in listen)


def test_addresses() -> None:
    assert spread_addresses(("127.0.0.1:50051",), 1) == ("127.0.0.1:50051",)
    assert spread_addresses(("[::1]:50051",), 3) == ("[::1]:50051", "[::1]:50052", "[::1]:50053")
    assert spread_addresses(("unix:///p.sock", "0.0.0.0:9"), 2) == (
        "unix:///p.sock-1",
        "0.0.0.0:9",
        "unix:///p.sock-2",
        "0.0.0.0:10",
    )
    assert spread_addresses(("127.0.0.1:0",), 2) == ("127.0.0.1:0", "127.0.0.1:0")
    assert nth_address("unix:///p.sock", 1) == "unix:///p.sock-2"
    with pytest.raises(SetupError, match=r"two of 2 workers would listen on 127\.0\.0\.1:51"):
        spread_addresses(("127.0.0.1:50", "127.0.0.1:51"), 2)
    with pytest.raises(SetupError, match=r"there is no 127\.0\.0\.1:65536"):
        spread_addresses(("127.0.0.1:65535",), 2)
