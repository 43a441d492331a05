"""Rendered manifests beside the policies: in what they differ, and that nothing is said where nothing does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli.main import main
from extproc.doctor.envoy_dump import Evidence
from extproc.doctor.rendering_drift import drift
from extproc.lint.linter import lint
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Sticky, Version
from extproc.render.istio.manifests import IstioOptions, documents, manifests
from tests.istio import mesh
from tests.unit.doctor.test_diagnosis import ext_proc, istio
from tests.unit.telemetry.test_rendering_drift import snapshot, stream

OLD = Snapshot((Policy("chat", "ai", host="chat", models=("llama",), versions=(Version("v1", 9), Version("v2"))),))


def told(of: Snapshot, now: Snapshot) -> list[tuple[str, str]]:
    """Codes and messages about what is rendered from ``of``."""
    found = lint([("rendered.yaml", manifests(of, IstioOptions()))], snapshot=now).findings
    assert all(finding.file == "rendered.yaml" and finding.line >= 1 for finding in found)
    return [(finding.code, finding.message) for finding in found]


def chat(*versions: Version, **more: object) -> Snapshot:
    return Snapshot((Policy("chat", "ai", host="chat", models=("llama",), versions=versions, **more),))  # type: ignore[arg-type]


def test_nothing_is_said_of_what_was_rendered_from_them() -> None:
    assert told(OLD, OLD) == []
    assert lint([("rendered.yaml", manifests(OLD, IstioOptions()))]).findings == ()


def test_every_manifest_together_is_one_finding_that_names_what_differs() -> None:
    ((code, message),) = told(OLD, chat(Version("v1", 9), Version("v2"), Version("v3", 0)))
    assert code == "AIM601"
    assert message == (
        f"{len(documents(OLD, IstioOptions()))} manifests were rendered from other policies: "
        "versions (lacks chat/v3), targets (lacks chat/v3)"
    )
    ((code, message),) = told(OLD, chat(Version("v1", 9)))
    assert (code, "still has chat/v2" in message) == ("AIM601", True)
    ((code, message),) = told(OLD, chat(*OLD.policies[0].versions, sticky=Sticky(header="x-user")))
    assert (code, message.rpartition(": ")[2]) == ("AIM601", "headers (lacks x-user)")


def test_weights_are_a_warning() -> None:
    ((code, message),) = told(OLD, chat(Version("v1", 1), Version("v2")))
    assert (code, message.rpartition(": ")[2]) == ("AIM602", "weights (lacks chat/v1 1; still has chat/v1 9)")


def test_an_order_and_long_lists_are_told_by_their_part() -> None:
    ((_, message),) = told(OLD, chat(Version("v2"), Version("v1", 9)))[:1]
    assert message.endswith("versions, targets, weights")
    many = chat(*(Version(f"version-{number}") for number in range(40)))
    ((_, message),) = told(many, chat(*(Version(f"version-{number}") for number in range(41))))[:1]
    assert message.endswith("versions, targets, weights")


def test_pools_are_named() -> None:
    ((_, message),) = told(OLD, Snapshot(OLD.policies, (GpuPool("west", mesh.A100),)))
    assert message.endswith("pools (lacks west)")


def test_other_teams_renderings_are_not_judged_and_none_is_said() -> None:
    ((code, _),) = told(Snapshot((Policy("shop", "ai", host="shop"),)), OLD)
    assert code == "AIM603"


def test_check_takes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, rendered = tmp_path / "policy.yaml", tmp_path / "rendered.yaml"
    kind = "apiVersion: ai.istio.io/v1alpha1\nkind: ModelInferencePolicy\nmetadata: {name: chat}\n"
    text = kind + "spec: {host: chat, models: [llama], versions: [{name: v1, weight: 1}]}\n"
    policy.write_text(text)
    assert main(["render", "istio", "-f", str(policy)]) == 0
    rendered.write_text(capsys.readouterr().out)
    both = ["check", "--istio", str(rendered), "-f", str(policy), "--json"]
    assert main(both) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    policy.write_text(text.replace("name: v1", "name: v2"))
    assert main(both) == 1
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["code"], "versions (lacks chat/v2; still has chat/v1)" in found["message"]) == ("AIM601", True)
    policy.write_text("kind: nonsense")
    assert main(both) == 2
    with pytest.raises(SystemExit) as misused:
        main(["check"])
    assert misused.value.code == 2


def test_the_doctor_tells_of_each_filter() -> None:
    said = [{"key": key, "value": value} for key, value in stream(snapshot("v1"))]
    route, plain = ext_proc("aimesh.route"), ext_proc("else")
    route["typed_config"]["grpc_service"]["initial_metadata"] = said
    evidence = Evidence(istio(route, plain))
    assert drift(evidence, snapshot("v1"), "here") == []
    (found,) = drift(evidence, snapshot("v1", "v2"), "here")
    assert (found.code, found.file) == ("AIM720", "here")
    assert found.path.endswith("filter aimesh.route")
    assert found.message == "rendered from other policies: versions (lacks chat/v2), targets (lacks chat/v2)"
