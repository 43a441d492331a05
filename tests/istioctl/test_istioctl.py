"""Manifests before a real istioctl, where one is there (`make istioctl` builds it)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.istioctl.judge import ARTICLE, find, judged, rendered


@pytest.fixture(scope="module")
def istioctl() -> str:
    found = find()
    if not found:
        pytest.skip("no istioctl here: `make istioctl` builds it where go and its module proxy are")
    return found


def test_istioctl_is_content_with_the_articles_policy(istioctl: str, tmp_path: Path) -> None:
    """All others take half a minute: `make istioctl`."""
    paths = rendered(ARTICLE, tmp_path)
    assert len(paths) == 4
    assert {path.name: said for path in paths if (said := judged(istioctl, path))} == {}


FILTER = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: a}
spec:
  priority: 1
  configPatches:
  - applyTo: HTTP_FILTER
    patch:
      operation: INSERT_FIRST
      value:
        name: a
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
          message_timeouts: 1s
"""
SERVICE = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: "


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SERVICE + "{hosts: [a], http: [{route: [{destination: {host: a}, weight: -1}]}]}", "istioctl validate"),
        (SERVICE + "{hosts: [a], gateways: [none], http: [{route: [{destination: {host: a}}]}]}", "IST0101"),
        (FILTER, 'unknown field "message_timeouts"'),
    ],
)
def test_istioctl_would_have_said_so(istioctl: str, tmp_path: Path, text: str, says: str) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)
    assert any(says in line for line in judged(istioctl, bad))
