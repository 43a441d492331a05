"""`extproc check`: what it prints and its exit status."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from extproc.cli.check import check_istio, check_policies
from extproc.cli.main import main
from tests.policy_documents import file, policy, pool
from tests.unit.cli.command_lines import flags, help_of, refused

GOOD = file(
    policy("models: [a, 'b-*']\ngpuRequirements: {}\nversions: [{name: v1, weight: 1}, {name: v2, weight: 1}]"),
    policy("models: [c]", "second"),
    pool(),
)


def check(capsys: pytest.CaptureFixture[str], *paths: Path, as_json: bool = False) -> tuple[int, str]:
    status = check_policies(paths, as_json)
    printed = capsys.readouterr()
    assert printed.err == ""
    return status, printed.out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_defaults_and_every_flag() -> None:
    assert flags("check") == {"file": None, "istio": None, "json": False, "locality": ""}
    assert flags("check", *["-f", "p", "--istio", "a", "-", "--json", "--locality", "eu/a"]) == {
        "file": [Path("p")],
        "istio": [Path("a"), Path("-")],
        "json": True,
        "locality": "eu/a",
    }


def test_something_is_to_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to check; give policies (-f POLICY)" in refused(capsys, "check")
    assert "extproc check -f policies/ --json | jq" in help_of(capsys, "check")


def test_the_command_checks_policies_and_manifests(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD)
    assert main(["check", "-f", str(path)]) == 0
    assert capsys.readouterr().out.startswith("ok: 2 policies")
    assert main(["check", "--istio", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resources"] == 3


def test_a_place_of_proxies_that_is_near_no_pool(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(file(policy("gpuRequirements: {}"), pool("product: NVIDIA-L4\nlocality: eu/a\nendpoints: [a:1]")))
    assert main(["check", "-f", str(path), "--locality", "eu/b"]) == 0
    assert "0 warnings" in capsys.readouterr().out
    assert main(["check", "-f", str(path), "--locality", "us"]) == 0
    printed = capsys.readouterr().out
    assert "--locality us: warning: no GPU pool is in the region us" in printed
    assert "1 warning" in printed
    assert "'u s' is no place" in refused(capsys, "check", "--locality", "u s")
    told = refused(capsys, "check", "--istio", str(path), "-f", str(path), "--locality", "us")
    assert "--locality does not go with --istio" in told


def test_policies_of_which_manifests_are_a_rendering_must_be_right(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(policy("port: 0"))
    assert main(["check", "--istio", str(tmp_path), "-f", str(path)]) == 2
    assert capsys.readouterr().out == ""


def test_a_good_policy_is_summed_up(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD)
    summary = "ok: 2 policies, 2 versions, 1 GPU pool, 3 models (a, c, b-*), 0 warnings\n"
    assert check(capsys, path) == (0, summary)


def test_many_models_are_cut(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(policy("models: [a, b, c, d, e, f]"))
    summary = "ok: 1 policy, 0 versions, 0 GPU pools, 6 models (a, b, c, d, e, ...), 0 warnings\n"
    assert check(capsys, path) == (0, summary)


def test_warnings_are_printed_and_forgiven(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(policy("allowPin: true"))
    assert check(capsys, path) == (
        0,
        (
            f"{path}:5:13: warning: spec.allowPin: there are no versions to pin; declare versions, or remove allowPin\n"
            "ok: 1 policy, 0 versions, 0 GPU pools, 1 model (*), 1 warning\n"
        ),
    )


def test_every_problem_has_its_line(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(policy("port: 0\nallowPin: true\nmodels: []"))
    status, printed = check(capsys, tmp_path / "none.yaml", path)
    assert status == 1
    assert printed.splitlines() == [
        f"{tmp_path}/none.yaml: error: does not exist; check the path",
        f"{path}:5:9: error: spec.port: 0 is out of range; give a number from 1 to 65535",
        f"{path}:6:13: warning: spec.allowPin: there are no versions to pin; declare versions, or remove allowPin",
        f"{path}:7:11: error: spec.models: is an empty list; give an item, or remove the field",
        "3 errors, 1 warning",
    ]


def test_json_of_a_good_policy(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD)
    status, printed = check(capsys, path, as_json=True)
    assert status == 0
    assert json.loads(printed) == {
        "ok": True,
        "problems": [],
        "found": {"policies": ["chat", "second"], "pools": ["a100-west"], "models": ["a", "c", "b-*"], "versions": 2},
    }


def test_json_of_a_bad_policy(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(policy("port: 0"))
    status, printed = check(capsys, path, as_json=True)
    assert status == 1
    assert json.loads(printed) == {
        "ok": False,
        "problems": [
            {
                "file": str(path),
                "line": 5,
                "column": 9,
                "path": "spec.port",
                "message": "0 is out of range",
                "remedy": "give a number from 1 to 65535",
                "warning": False,
            }
        ],
        "found": None,
    }


RULE = (
    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nspec: {trafficPolicy: {loadBalancer: {simple: %s}}}\n"
)


def test_manifests_with_warnings_are_forgiven(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(RULE % "LEAST_REQUEST")
    assert check_istio([path], as_json=False) == 0
    assert capsys.readouterr().out == "ok: 1 resource in 1 file\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((RULE % "LEAST_CONN").encode())))
    assert check_istio([path, Path("-")], as_json=False) == 0
    warning, count = capsys.readouterr().out.splitlines()
    assert warning.startswith("<stdin>:3:47: warning AIM301: spec.trafficPolicy.loadBalancer.simple: `LEAST_CONN`")
    assert count == "0 errors, 1 warning"


def test_manifests_with_errors_and_files_that_are_not_there(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("kind: EnvoyFilter\n")
    assert check_istio([path, path / "none"], as_json=True) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["ok"], printed["resources"], printed["files"]) == (False, 1, 1)
    assert [finding["code"] for finding in printed["findings"]] == ["AIM001", "AIM002"]


def test_manifests_that_are_none_are_not_called_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text("not: a manifest\n")
    assert main(["check", "--istio", str(file)]) == 0
    assert "warning: what was given holds no Kubernetes object: nothing was checked" in capsys.readouterr().err
