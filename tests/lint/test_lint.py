"""Istio manifests with one trap each, and without any."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.cli.main import main
from extproc.lint.linter import RULES, lint
from tests.house.tree import ROOT
from tests.lint.corpus import BAD, GOOD, codes


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_trap_is_found_and_nothing_else(path: Path) -> None:
    found = lint([(path.name, path.read_text())]).findings
    assert {finding.code for finding in found} == codes(path), "\n".join(map(str, found))
    assert all(finding.line > 1 for finding in found)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_nothing_is_found_where_nothing_is_wrong(path: Path) -> None:
    assert lint([(path.name, path.read_text())]).findings == ()


ISTIO = ROOT / "istio"
CHOICES = {
    **{path.name: [path] for path in (ISTIO / "rendered").glob("*.yaml") if ".policy" not in path.name},
    **{path.name: [path, ISTIO / "rendered" / "canary.yaml"] for path in (ISTIO / "examples").glob("*.yaml")},
}
"""Renderings and examples stand for each other: one at a time, beside what is always there."""


@pytest.mark.parametrize("chosen", sorted(CHOICES))
def test_our_own_manifests_have_none(chosen: str) -> None:
    always = [path for path in ISTIO.rglob("*.yaml") if path.parent.name not in ("rendered", "examples")]
    assert lint([(path.name, path.read_text()) for path in (*always, *CHOICES[chosen])]).findings == ()


POLICIES = [ROOT / "tests" / "istioctl" / name for name in ("demo.yaml", "article.yaml")]


@pytest.mark.parametrize("place", ["gateway", "sidecar", "inbound", "waypoint"])
@pytest.mark.parametrize("policy", POLICIES, ids=["demo", "article"])
@pytest.mark.parametrize(
    "more", [(), ("--istio-version", "1.28", "--fail-closed", "--processor", "unix:///run/p.sock")]
)
def test_what_we_render_has_none(
    policy: Path, place: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "istio", "-f", str(policy), "--for", place, *more]) == 0
    linted = lint([("rendered", capsys.readouterr().out)])
    assert linted.resources > 0
    assert linted.findings == ()


def test_every_rule_has_its_bad_manifest() -> None:
    assert {code for path in BAD for code in codes(path)} == {rule.code for rule in RULES}


def test_codes_are_unique() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)


LINES = [line for path in (*BAD, *GOOD) for line in path.read_text().splitlines()]


@given(st.sampled_from([*BAD, *GOOD]), st.data())
@settings(max_examples=60)
def test_no_manifest_makes_it_fail(path: Path, data: st.DataObject) -> None:
    lines = path.read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines)))
        lines[at : at + data.draw(st.integers(0, 3))] = data.draw(st.lists(st.sampled_from(LINES), max_size=2))
    damaged = "\n".join(lines).replace(
        *data.draw(st.sampled_from([("{", "["), (": ", ": [1] #"), ("- ", "  "), ("1", "")]))
    )
    for finding in lint([("damaged", damaged)]).findings:
        assert str(finding).startswith("damaged:")
