"""Manifests against the CRDs that Istio, Linkerd and the Gateway API ship, closed to unknown fields, rules evaluated.

The CRDs stand beside the checkout where there are any; without them `needed` skips a test, saying so. More of them may
be in the folder that ``EXTPROC_TEST_CRDS`` names. A kind that two projects ship (HTTPRoute, by the Gateway API and by
Linkerd) must please both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests import schema

FOLDER = Path(__file__).parents[3] / "shared" / "crds"
MORE = os.environ.get("EXTPROC_TEST_CRDS", "")
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

needed = pytest.mark.skipif(not any(FOLDER.glob("*.yaml")), reason="no CRDs in ../shared/crds beside the checkout")
"""For tests that call `problems`."""


class UnknownKindError(LookupError):
    """No CRD tells of this apiVersion and kind."""


def problems(manifest: dict[str, Any], crds: Collection[str] = ()) -> list[str]:
    """Everything that its CRDs say against ``manifest``, a plain tree; each with file, kind, name and path.

    ``crds``: only these files, named without ``.yaml``; default all. Raises UnknownKindError.
    """
    which = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
    schemas = {
        file: known[which]
        for file, known in ((f, _kinds(f)) for f in _files())
        if which in known and (not crds or file.stem in crds)
    }
    if not schemas:
        raise UnknownKindError(f"no CRD of {which[0]} {which[1]} in {FOLDER.name}/, nor in $EXTPROC_TEST_CRDS")
    name = f"{which[1]}/{manifest.get('metadata', {}).get('name')}"
    found = [f"{name}: {problem}" for problem in metadata_problems(manifest.get("metadata"))]
    for file, wanted in schemas.items():
        top = {k: v for k, v in manifest.items() if k not in ("apiVersion", "kind", "metadata")}
        full = schema.defaulted(wanted, top)
        found += [f"{file.stem}: {name}: {problem}" for problem in schema.problems(wanted, full, "$")]
    return found


def kinds() -> set[tuple[str, str]]:
    """(apiVersion, kind) of everything that `problems` knows."""
    return {which for file in _files() for which in _kinds(file)}


def definitions(wanted: Collection[tuple[str, str]]) -> list[dict[str, Any]]:
    """The CRDs of (apiVersion, kind)s of `kinds`, as an API server takes them; each from the first file with it."""
    found: dict[str, dict[str, Any]] = {}
    for file in _files():
        if _kinds(file).keys() & set(wanted):
            for crd in yaml.load_all(file.read_bytes(), LOADER):
                if crd and crd["kind"] == "CustomResourceDefinition" and _served(crd) & set(wanted):
                    crd.pop("status", None)  # of nulls, which the API server refuses
                    found.setdefault(crd["metadata"]["name"], crd)
    return [*found.values()]


def _served(crd: dict[str, Any]) -> set[tuple[str, str]]:
    spec = crd["spec"]
    return {(f"{spec['group']}/{each['name']}", spec["names"]["kind"]) for each in spec["versions"] if each["served"]}


def metadata_problems(metadata: Any) -> Iterable[str]:
    """What Kubernetes itself would say against ``metadata``: names, labels, annotations."""
    if not isinstance(metadata, dict):
        yield "$.metadata: must be an object"
        return
    for key in metadata.keys() - {"name", "namespace", "labels", "annotations"}:
        yield f"$.metadata.{key}: no field that a manifest has"
    for key, pattern in (("name", rf"(?=.{{1,253}}$){_NAME}(\.{_NAME})*"), ("namespace", _NAME)):
        value = metadata.get(key)
        if not (value is None and key == "namespace") and not re.fullmatch(pattern, str(value)):
            yield f"$.metadata.{key}: {value!r} is no DNS name"
    for field, pattern in (("labels", _LABEL), ("annotations", "(?s).*")):
        for key, value in (metadata.get(field) or {}).items():
            if not re.fullmatch(_KEY, str(key)):
                yield f"$.metadata.{field}: {key!r} is no key"
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                yield f"$.metadata.{field}.{key}: {value!r} is no value"


_NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_LABEL = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_KEY = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def _files() -> list[Path]:
    return sorted([*FOLDER.glob("*.yaml"), *(Path(MORE).glob("*.yaml") if MORE else ())])


@cache
def _kinds(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The schema of each (apiVersion, kind) in one file, without what stands in every object."""
    found = {}
    for crd in yaml.load_all(file.read_bytes(), LOADER):
        if not crd or crd["kind"] != "CustomResourceDefinition":
            continue
        spec = crd["spec"]
        for version in spec["versions"]:
            if not version["served"]:
                continue
            whole = version["schema"]["openAPIV3Schema"]
            own = {k: v for k, v in whole["properties"].items() if k not in ("apiVersion", "kind", "metadata")}
            needs = [n for n in whole.get("required", ()) if n in own]
            which = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
            found[which] = {**whole, "properties": own, "required": needs}
    return found
