"""No document, whatever its shape, makes the linter fail; and its findings are always within the file."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from linkerd_adapter.lint.linter import RULES, lint

from tests import fast_yaml
from tests.lint.linkerd.corpus import BAD, GOOD

BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""What YAML takes for the end of a line."""
CODES = {rule.code for rule in RULES}
MANIFESTS: list[Any] = [
    manifest for file in (*GOOD, *BAD) if "lnk001" not in file.name for manifest in fast_yaml.load_all(file.read_text())
]

WORDS = """
    apiVersion kind metadata name namespace annotations spec status items parentRefs rules matches headers queryParams
    path value type method service filters requestHeaderModifier add set backendRefs port weight group timeouts request
    ports appProtocol parents conditions parentRef List HTTPRoute GRPCRoute Service ServiceProfile v1
"""
names = st.sampled_from(WORDS.split())
scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), names, st.dates()),
    st.sampled_from(
        ["gateway.networking.k8s.io/v1", "v1", "(" * 50, "^(?:a|ab)$", "[", "\\", "a|a|", "1" * 5000, "80-"]
    ),
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)


def dump(*documents: object) -> str:
    return fast_yaml.dump_all(documents, allow_unicode=True)


def looked_at(text: str) -> None:
    found, _ = lint([("a.yaml", text)])
    lines = len(BREAK.split(text))
    for finding in found:
        assert finding.code in CODES
        assert 1 <= finding.line <= lines + 1  # what is missing at the end is missed after it
        assert str(finding)
        assert json.dumps(finding.as_dict())
    places = [(f.line, f.column, f.path, f.code) for f in found]
    assert places == sorted(places, key=lambda p: p[:2])
    assert len(places) == len(set(places))


@given(st.text())
def test_any_text(text: str) -> None:
    looked_at(text)


@given(trees)
def test_any_document(tree: object) -> None:
    looked_at(dump(tree))


@settings(max_examples=100)
@given(st.data())
def test_any_manifest_with_a_part_of_any_shape(data: st.DataObject) -> None:
    manifests = deepcopy(data.draw(st.lists(st.sampled_from(MANIFESTS), min_size=1, max_size=3)))
    for manifest in manifests:
        at = manifest
        while isinstance(at, dict | list) and at:
            key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else list(range(len(at)))))
            if not isinstance(at[key], dict | list) or data.draw(st.booleans()):
                at[key] = data.draw(trees)
                break
            at = at[key]
    looked_at(dump(*manifests))


def test_a_large_cluster_takes_no_quadratic_time() -> None:
    """1,000 routes on one Service, each compared with as few others as the limit says."""
    match = "{matches: [{headers: [{name: x-tenant, value: t%d}]}], backendRefs: [{name: b, namespace: n, port: 80}]}"
    parent = '{group: "", kind: Service, name: a, namespace: n, port: 80}'
    text = "".join(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
        f"metadata: {{name: r{i}, namespace: n}}\nspec: {{parentRefs: [{parent}], rules: [{match % i}]}}\n"
        for i in range(1_000)
    )
    found, cluster = lint([("a.yaml", text)])
    assert (len(cluster.routes), [f.code for f in found]) == (1_000, ["LNK205"])
