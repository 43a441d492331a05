"""`extproc serve`: flags are the server's options, and a command line for workers says the same again."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from extproc.cli.main import main
from extproc.errors import SetupError
from extproc.serve.options import ServeOptions
from tests.unit.cli.command_lines import arguments, help_of, refused

EVERY = (
    "--kubernetes --namespace ai --namespace team --namespace ai --snapshot-directory d "
    "--inference-pool ai/a --inference-pool ai/b --inference-pools-of ai/c --inference-pool ai/a "
    "-f a.yaml -f b --listen 0.0.0.0:1 --listen unix:///s --admin unix:///a --drain 0 --grace 1.5 --workers 3 "
    "--max-streams 7 --keepalive 2 --engine aio --otlp http://c:4317 --tls-cert c --tls-key k --tls-client-ca ca"
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ServeOptions]]:
    """In the place of servers: which kind was started, with what options."""
    found: list[tuple[str, ServeOptions]] = []

    def kind(name: str) -> type:
        class Started:
            def __init__(self, options: ServeOptions) -> None:
                found.append((name, options))

            def run(self) -> int:
                return 7

        return Started

    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setattr("extproc.serve.server.Server", kind("server"))
    monkeypatch.setattr("extproc.serve.supervisor.Supervisor", kind("workers"))
    return found


def test_defaults_are_those_of_the_options(started: list[tuple[str, ServeOptions]]) -> None:
    assert main(["serve", "-f", "p"]) == 7
    assert started == [("server", ServeOptions(policies=(Path("p"),)))]


def test_a_server_starts_without_garbage_collections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enabled: list[bool] = []

    def refuse(_: ServeOptions) -> None:
        enabled.append(gc.isenabled())
        raise SetupError("no port is free")

    monkeypatch.setattr("extproc.serve.server.Server", refuse)
    assert main(["serve", "-f", "p"]) == 1
    assert (enabled, gc.isenabled()) == ([False], True)


def test_every_flag_is_an_option(started: list[tuple[str, ServeOptions]]) -> None:
    options = ServeOptions(
        policies=(Path("a.yaml"), Path("b")),
        kubernetes=True,
        namespace=("ai", "team"),
        inference_pool=("ai/a", "ai/b"),
        inference_pools_of=("ai/c",),
        snapshot_directory=Path("d"),
        listen=("0.0.0.0:1", "unix:///s"),
        admin="unix:///a",
        drain=0.0,
        grace=1.5,
        workers=3,
        max_streams=7,
        keepalive=2.0,
        engine="aio",
        otlp="http://c:4317",
        tls_cert=Path("c"),
        tls_key=Path("k"),
        tls_client_ca=Path("ca"),
    )
    assert main(["serve", *EVERY.split()]) == 7
    assert started == [("workers", options)]
    assert main(options.arguments()) == 7, "as a supervisor starts its workers"
    assert started[1] == started[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--listen 50051", "--listen: '50051' is no address"),
        ("--admin unix:/a", "--admin: 'unix:/a' is no address; did you mean unix:///a"),
        ("--drain soon", "--drain: 'soon' is no number of seconds"),
        ("--grace -1", "--grace: '-1' is no number of seconds"),
        ("--max-streams 0", "--max-streams: '0' is no number from 1"),
        ("--keepalive x", "--keepalive: 'x' is no number of seconds"),
        ("--inference-pool llama", "--inference-pool: 'llama' is no object; write it as namespace/name"),
        ("--inference-pools-of a/b/c", "--inference-pools-of: 'a/b/c' is no object; write it as namespace/name"),
        ("--engine go", "--engine: invalid choice: 'go'"),
        ("--workers 1.5", "--workers: '1.5' is no number from 1"),
        ("--otlp collector:4317", "--otlp: 'collector:4317' is no collector's URL"),
    ],
)
def test_bad_words(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, "serve", "-f", "p", *words.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "no policies: give a policy file with -f, or read those of a cluster with --kubernetes"),
        ("-f p --namespace ai", "--namespace belongs to --kubernetes, which is not given"),
        ("--inference-pool ai/a --namespace ai", "--namespace belongs to --kubernetes, which is not given"),
        ("-f p --snapshot-directory d", "--snapshot-directory belongs to --kubernetes and --inference-pool"),
    ],
)
def test_policies_of_files_or_of_a_cluster_are_wanted(
    words: str, said: str, capsys: pytest.CaptureFixture[str], started: list[tuple[str, ServeOptions]]
) -> None:
    assert main(["serve", *words.split()]) == 1
    assert said in capsys.readouterr().err
    assert started == []


def test_files_are_not_wanted_beside_a_cluster(started: list[tuple[str, ServeOptions]]) -> None:
    assert main(["serve", "--kubernetes"]) == 7
    assert started == [("server", ServeOptions(kubernetes=True))]


def test_help_has_examples_and_signals(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "serve")
    assert "extproc serve -f policy.yaml --listen 0.0.0.0:50051 --workers 4      ports 50051 to 50054" in text
    assert "SIGTERM  fail health, go on for --drain seconds" in text
    assert "(default 127.0.0.1:50051)" in text


def test_the_collector_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")
    assert arguments("serve", "-f", "p").otlp == "http://c:4317"
    assert arguments("serve", "-f", "p", "--otlp", "").otlp == ""


def test_pools_of_a_cluster_need_no_policies(started: list[tuple[str, ServeOptions]]) -> None:
    assert main(["serve", "--inference-pool", "ai/llama", "--snapshot-directory", "d"]) == 7
    assert started == [("server", ServeOptions(inference_pool=("ai/llama",), snapshot_directory=Path("d")))]
    assert started[0][1].in_cluster
    assert not ServeOptions(policies=(Path("p"),)).in_cluster
