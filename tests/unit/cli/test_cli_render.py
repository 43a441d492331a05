"""`extproc render`: one command for each kind of manifest."""

from __future__ import annotations

import pytest

from extproc.cli.render import KINDS
from tests.unit.cli.command_lines import help_of, refused


def test_every_kind_is_listed_and_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    top = help_of(capsys, "render")
    assert "Manifests for Linkerd: linkerd-adapter render -f policy.yaml" in top
    for kind in KINDS:
        name = kind.__name__.rpartition(".")[2].removeprefix("render_").replace("_", "-")
        assert name in [line.strip().partition(" ")[0] for line in top.splitlines()]
        assert f"examples:\n  extproc render {name} -f policy.yaml" in help_of(capsys, "render", name)


def test_a_kind_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert "required: KIND" in refused(capsys, "render")
    assert "invalid choice: 'linkerd'" in refused(capsys, "render", "linkerd")


@pytest.mark.parametrize("kind", ["envoy", "istio", "rules", "dashboard"])
def test_every_kind_wants_a_policy(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "render", kind).endswith("required: -f/--file")
