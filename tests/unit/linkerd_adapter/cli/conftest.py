"""A policy file for the commands of the adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: chat, namespace: ai}
spec:
  host: chat   # the apex
  selector: {matchLabels: {app: chat}}
  versions:
  - {name: v1, weight: 9}
  - {name: v2, weight: 1}
  - {name: new, mirror: 10}
  sticky: {header: x-user-id}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file
