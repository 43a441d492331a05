"""Servers that a policy has picked."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import picked_servers

from tests.lint.linkerd.corpus import bad, check, codes


@pytest.mark.parametrize("file", bad(picked_servers.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


@pytest.mark.parametrize(
    ("api", "spec", "found"),
    [
        ("ai.istio.io/v1alpha1", "{models: [chat]}", []),
        ("ai.istio.io/v1alpha1", "{models: [chat], picking: {}}", ["LNK412"]),
        ("example.com/v1", "{picking: {by: prefix}}", []),
    ],
)
def test_policies_that_pick(api: str, spec: str, found: list[str]) -> None:
    text = f"apiVersion: {api}\nkind: ModelInferencePolicy\nmetadata: {{name: chat, namespace: ai}}\nspec: {spec}\n"
    assert codes(text, picked_servers.RULES) == found
