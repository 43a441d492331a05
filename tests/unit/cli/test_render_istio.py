"""`extproc render istio`: its flags, manifests on stdout, what to know on stderr."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from extproc.cli.main import main
from extproc.cli.render_istio import istio_options, labels, processor
from extproc.render.istio.istio_options import IstioOptions
from tests import fast_yaml
from tests.house.tree import ROOT
from tests.unit.cli.command_lines import arguments, help_of

POLICY = str(ROOT / "istio" / "policy.yaml")


def test_defaults_are_those_of_the_options() -> None:
    assert istio_options(arguments("render", "istio", "-f", "p")) == IstioOptions()


def test_every_flag_is_an_option() -> None:
    words = (
        "--for sidecar --for inbound --for sidecar --istio-version 1.29 --namespace ns --gateway a/b "
        "--gateway-labels app=edge,tier= --host one --host two --callers web --waypoint wp --processor dns:///h:1 "
        "--processor unix:///s --meshed-endpoints --body streamed --fail-closed --routes-only --prometheus-rules "
        "--access-log json"
    )
    assert istio_options(arguments("render", "istio", "-f", "p", *words.split())) == IstioOptions(
        proxies=("sidecar", "inbound"),
        release="1.29",
        namespace="ns",
        gateway="a/b",
        gateway_labels=(("app", "edge"), ("tier", "")),
        hosts=("one", "two"),
        callers="web",
        waypoint="wp",
        processors=("dns:///h:1", "unix:///s"),
        meshed_endpoints=True,
        body="streamed",
        fail_open=False,
        routes_only=True,
        rules=True,
        access_log="json",
    )


@pytest.mark.parametrize("text", ["h:1", "[::1]:1", "dns:///h:1", "unix:///run/p.sock"])
def test_addresses_of_processors(text: str) -> None:
    assert processor(text) == text


@pytest.mark.parametrize("text", ["unix:/s", "unix://s", "dns:h:1", "dns:///h", "h", "h:70000"])
def test_what_is_no_address_of_a_processor(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no address"):
        processor(text)


@pytest.mark.parametrize("text", ["", "a", "=b", "a=b,", "a=b,c"])
def test_what_are_no_labels(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="are no labels; write key=value,key=value"):
        labels(text)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc render istio -f policy.yaml --for sidecar --callers web" in help_of(capsys, "render", "istio")


def test_stdout_is_yaml_and_stderr_says_what_the_target_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "istio", "-f", POLICY, "--istio-version", "1.28", "--for", "waypoint"]) == 0
    written = capsys.readouterr()
    assert {document["kind"] for document in fast_yaml.load_all(written.out)} == {
        "DestinationRule",
        "VirtualService",
        "Telemetry",
        "EnvoyFilter",
    }
    *lacking, places = written.err.splitlines()
    assert [line.startswith("extproc: Istio") for line in lacking] == [True] * 3
    assert "its pools are in several places" in places


def test_every_option_counts(capsys: pytest.CaptureFixture[str]) -> None:
    def render(*options: str) -> str:
        assert main(["render", "istio", "-f", POLICY, *options]) == 0
        return capsys.readouterr().out

    plain = render()
    for option in (
        "--for inbound",
        "--istio-version 1.28",
        "--gateway edge/public",
        "--gateway-labels app=edge,tier=1",
        "--host llm.example.com",
        "--callers web",
        "--processor dns:///10.0.0.1:1 --processor dns:///10.0.0.2:1",
        "--body streamed",
        "--fail-closed",
        "--access-log json",
        "--prometheus-rules",
        "--routes-only",
    ):
        assert render(*option.split()) != plain, option


def test_routes_alone_are_those_of_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """They are applied first, and the whole after them changes them no more."""
    found = []
    for option in ([], ["--routes-only"]):
        assert main(["render", "istio", "-f", POLICY, *option]) == 0
        found.append([*fast_yaml.load_all(capsys.readouterr().out)])
    whole, routes = found
    assert routes == [document for document in whole if document["kind"] == "VirtualService"]
    kinds = [document["kind"] for document in whole]
    assert kinds.index("DestinationRule") < kinds.index("VirtualService") < kinds.index("EnvoyFilter")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--processor=dns:host:1", "dns:///"),
        ("--processor=unix:run/p.sock", "unix:///"),
        ("--processor=nowhere", "host:port"),
        ("--gateway-labels=edge", "key=value"),
        ("--istio-version=1.9", "invalid choice"),
        ("--for=everyone", "invalid choice"),
    ],
)
def test_a_bad_option_is_named(option: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["render", "istio", "-f", POLICY, option])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_policy_that_is_wrong_renders_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("kind: Nothing\n")
    assert main(["render", "istio", "-f", str(file)]) == 2
    assert capsys.readouterr().out == ""


POOLS = str(ROOT / "istio" / "rendered" / "inference-pool.policy.yaml")


def test_inference_pools_in_the_place_of_filters(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--inference-pool --gateway infra/public --host llm.example.com --processor picker.ai.svc:1 --fail-closed"
    assert main(["render", "istio", "-f", POOLS, *words.split()]) == 0
    printed = capsys.readouterr()
    found = list(fast_yaml.load_all(printed.out))
    assert [doc["kind"] for doc in found] == ["InferencePool", "InferencePool", "HTTPRoute"]
    picker = {"name": "picker", "port": {"number": 1}, "failureMode": "FailClose"}
    assert [doc["spec"]["endpointPickerRef"] for doc in found[:2]] == [picker, picker]
    assert found[2]["spec"]["hostnames"] == ["llm.example.com"]
    assert "ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true" in printed.err
    assert main(["render", "istio", "-f", POOLS, "--inference-pool"]) == 0
    (first, *_) = fast_yaml.load_all(capsys.readouterr().out)
    wanted = {"name": "aimesh-extproc", "port": {"number": 9002}, "failureMode": "FailOpen"}
    assert first["spec"]["endpointPickerRef"] == wanted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--for sidecar", "is for gateways"),
        ("--for gateway --for inbound", "is for gateways"),
        ("--routes-only --prometheus-rules", "--routes-only, --prometheus-rules: without effect"),
        ("--istio-version 1.29", "--istio-version: without effect"),
        ("--gateway-labels app=edge", "--gateway-labels: without effect"),
        ("--callers web --waypoint wp", "--callers, --waypoint: without effect"),
        ("--meshed-endpoints", "--meshed-endpoints: without effect"),
        ("--body buffered --access-log json", "--body, --access-log: without effect"),
        ("--processor dns:///a:1 --processor dns:///b:1", "a pool has one picker"),
        ("--processor picker.other.svc:1", "in its own namespace"),
    ],
)
def test_what_does_not_go_with_pools(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "istio", "-f", POOLS, "--inference-pool", *words.split()]) == 1
    printed = capsys.readouterr()
    assert (printed.out, said in printed.err) == ("", True), printed.err


def test_a_contradiction_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "istio", "-f", POLICY, "--gateway", "public"]) == 1
    written = capsys.readouterr()
    assert (written.out, "NAMESPACE/NAME" in written.err) == ("", True)
