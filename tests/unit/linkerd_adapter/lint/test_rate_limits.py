"""Rate limits and their targets."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import rate_limits

from tests.lint.linkerd.corpus import bad, check, codes


@pytest.mark.parametrize("file", bad(rate_limits.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, rate_limits.RULES)


def limit(target: str) -> str:
    head = "---\napiVersion: policy.linkerd.io/v1alpha1\nkind: HTTPLocalRateLimitPolicy\nmetadata: {name: a}\n"
    return f"{head}spec: {{targetRef: {target}}}\n"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("{group: policy.linkerd.io, kind: Server, name: a}", []),
        ("{group: '', kind: Service, name: a}", ["LNK511"]),
        ("{kind: Server, name: a}", ["LNK511"]),
    ],
)
def test_targets(target: str, found: list[str]) -> None:
    assert of(limit(target)) == found
