"""The linter's own table of fields, held against the CRDs that Linkerd and the Gateway API ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from linkerd_adapter.lint import route_fields

from tests.lint.linkerd.corpus import GOOD
from tests.manifests import core, crds

LINKERD, GATEWAY = (crds.FOLDER / f"{name}.yaml" for name in ("linkerd-edge-26.8.3", "gateway-api-1.6.0"))
UNCHECKED = {("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy"): "Envoy Gateway's CRDs are not here"}

pytestmark = crds.needed


def of(file: Path, kind: str) -> dict[str, Any]:
    """The schema of the spec."""
    found: dict[str, Any] = crds._kinds(file)["gateway.networking.k8s.io/v1", kind]["properties"]["spec"]
    return found


def differences(shape: route_fields.Shape, schema: dict[str, Any], path: str) -> list[str]:
    """What one has and the other has not, and limits that differ."""
    match shape:
        case (inner, most):
            if schema["type"] != "array":
                return [f"{path}: is no list"]
            limit = [] if schema.get("maxItems") == most else [f"{path}: {most} is not {schema.get('maxItems')}"]
            return limit + differences(inner, schema["items"], f"{path}[]")
        case dict():
            known = schema.get("properties", {})
            found = [
                f"{path}.{key}: only here" for key, inner in shape.items() if key not in known and inner != "newer"
            ]
            found += [f"{path}.{key}: only there" for key in known.keys() - shape.keys()]
            for key in known.keys() & shape.keys():
                found += differences(shape[key], known[key], f"{path}.{key}")
            return found
        case "text" | "number":
            wanted = {"text": "string", "number": "integer"}[str(shape)]
            return [] if schema["type"] == wanted else [f"{path}: is {schema['type']}"]
    return []


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_the_fields_are_those_of_the_crd_that_linkerd_ships(kind: str) -> None:
    retry = [".rules[].retry: only here"] if kind == "HTTPRoute" else []
    assert differences(route_fields.SPECS[kind], of(LINKERD, kind), "") == retry


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_what_the_gateway_api_has_besides_is_known_as_newer(kind: str) -> None:
    """Of HTTPRoutes all; matches may be 64, but Linkerd's CRD says 8."""
    found = differences(route_fields.SPECS[kind], of(GATEWAY, kind), "")
    assert [line for line in found if "only there" in line] == []
    assert [line for line in found if "is not" in line] == [".rules[].matches: 8 is not 64"]


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_good_manifests_please_the_api_server(file: Path) -> None:
    """Those that are written by hand; what a cluster gives out has fields that nobody writes."""
    if file.stem in ("live", "accepted-by-another", "typed-list"):
        manifests = [{**item, "metadata": {"name": "a"}} for item in yaml.safe_load(file.read_text())["items"]]
        manifests = [m for m in manifests if "kind" in m]
        found = [p for m in manifests if m["kind"] == "HTTPRoute" for p in crds.problems(m)]
    else:
        found = core.all_problems(file.read_text(), UNCHECKED)
    assert found == []
