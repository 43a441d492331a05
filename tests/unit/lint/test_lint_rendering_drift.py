"""Rendered manifests beside the policies: in what they differ, and that nothing is said where nothing does."""

from __future__ import annotations

from extproc.lint import rendering_drift
from extproc.lint.linter import lint
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Sticky, Version
from extproc.render.istio.manifests import IstioOptions, documents, manifests
from tests.istio import mesh
from tests.lint.corpus import mesh as resources
from tests.lint.istio_objects import resource

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


def test_nothing_is_compared_where_nothing_was_read() -> None:
    assert list(rendering_drift.check(resources(""), OLD)) == []


def test_manifests_of_others_and_by_older_versions_say_nothing_of_themselves() -> None:
    (found,) = rendering_drift.check(resources(resource("Sidecar") + resource("Service")), OLD)
    assert (found.code, found.severity, found.line) == ("AIM603", "warning", 2)


def test_two_renderings_are_a_finding_each() -> None:
    old, older = (manifests(chat(*versions), IstioOptions()) for versions in ((Version("v1"),), (Version("v0"),)))
    found = list(rendering_drift.check(resources(old + "---\n" + older), OLD))
    assert [finding.code for finding in found] == ["AIM601", "AIM601"]
    assert len({finding.line for finding in found}) == 2


def test_one_manifest_is_told_of_in_the_singular() -> None:
    first, *_ = documents(chat(Version("v1")), IstioOptions())
    text = resource("Sidecar", annotations=first["metadata"]["annotations"])
    (found,) = rendering_drift.check(resources(text), OLD)
    assert found.message.startswith("this was rendered from other policies: ")
    assert found.path.startswith("metadata.annotations")
