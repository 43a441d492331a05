"""Objects of the API read as documents: the same values and problems as from a file, and the spec that holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extproc.kubernetes.object_documents import (
    Key,
    identity_of,
    is_in_force,
    kept,
    key_of,
    node_of,
    read,
    released,
    spec_of,
)
from extproc.kubernetes.rollout_in_status import told
from extproc.policy.rollout_plan import RolloutState
from extproc.policy.snapshot import Policy
from extproc.yamldoc import MAX_DEPTH, Items, Mapping, Node, Scalar
from extproc.yamldoc import read as read_yaml
from tests.house.tree import ROOT
from tests.policy_documents import load_texts
from tests.unit.kubernetes.fake_api import made

POLICIES = [
    ROOT / "istio" / "policy.yaml",
    ROOT / "istio" / "rendered" / "multi-cluster.policy.yaml",
    ROOT / "istio" / "examples" / "model-inference-policy.yaml",
]


def without_places(node: Node) -> object:
    match node:
        case Scalar():
            return (node.tag, node.text)
        case Items():
            return [without_places(item) for item in node.items]
        case Mapping():
            return {key.text: without_places(value) for key, value in node.entries}
    raise AssertionError(node)


VERSION = {"name": "a", "weight": 1}

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(-1e9, 1e9).map(lambda x: round(x, 3))
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)


@given(values.filter(lambda value: value is not None))
def test_a_value_is_the_tree_that_its_yaml_is(value: object) -> None:
    """PyYAML, which writes it here, is another's; a number's spelling may differ, not its value."""

    def plain(tree: object) -> object:
        if isinstance(tree, tuple):
            tag, text = tree
            return (tag, float(text)) if tag in ("int", "float") else (tag, "" if tag == "null" else text)
        if isinstance(tree, list):
            return [plain(item) for item in tree]
        assert isinstance(tree, dict)
        return {key: plain(item) for key, item in tree.items()}

    (root,), problems = read_yaml("f", yaml.safe_dump({"v": value}, allow_unicode=True))
    assert problems == []
    assert plain(without_places(node_of({"v": value}))) == plain(without_places(root))


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.parent.name)
def test_our_policies_are_the_same_as_objects(path: Any) -> None:
    snapshot = load_texts([("f", path.read_text())]).snapshot
    found = [read(document) for document in yaml.safe_load_all(path.read_text())]
    assert all(one.right for one in found)
    assert [one.document.value for one in found if one.document] == [*snapshot.policies, *snapshot.pools]


def test_what_the_server_adds_is_no_problem() -> None:
    found = made("ModelInferencePolicy", "chat", {}, uid="1", managedFields=[{"a": 1}], labels={"a": "b"})
    assert read(found | {"status": {"conditions": []}}).problems == ()


def test_problems_name_the_object() -> None:
    found = read(made("ModelInferencePolicy", "chat", {"port": 0, "versions": [VERSION, VERSION]}))
    outside, twice = (str(problem) for problem in found.problems)
    assert outside == (
        "ModelInferencePolicy ai/chat: error: spec.port: 0 is out of range; give a number from 1 to 65535"
    )
    assert twice.startswith("ModelInferencePolicy ai/chat: error: spec.versions[1].name: ")
    assert "the version a is there already, at spec.versions[0];" in twice
    assert not found.right
    assert not read(made("Unknown", "chat", {})).right


def test_the_same_value_twice_is_told_by_its_path() -> None:
    (problem,) = read(made("ModelInferencePolicy", "chat", {"models": ["a", "a"]})).problems
    assert problem.message == "the same model as at spec.models[0]"


@pytest.mark.parametrize("depth", [MAX_DEPTH, 5000])
def test_what_is_nested_too_deeply(depth: int) -> None:
    deep: dict[str, Any] = {}
    for _ in range(depth):
        deep = {"source": deep}
    (problem,) = read(made("ModelInferencePolicy", "chat", deep)).problems
    assert problem.message == f"nested deeper than {MAX_DEPTH} levels"


def test_a_policy_is_what_its_status_says_is_in_force() -> None:
    found = made("ModelInferencePolicy", "chat", {"port": 2})
    assert spec_of(found) == {"port": 2}
    assert spec_of(found | {"status": {"inForce": {"generation": 1, "spec": {"port": 1}}}}) == {"port": 1}
    for status in (None, {}, {"inForce": None}, {"inForce": {"generation": 1}}):
        assert spec_of(found | {"status": status}) == {"port": 2}
    assert spec_of({"kind": "GpuPool"}) == {}


def test_a_pool_has_the_gpus_that_were_found_on_its_nodes() -> None:
    status = {"product": "NVIDIA-L4", "memory": "24Gi", "gpus": 3}
    selected = made("GpuPool", "west", {"nodeSelector": {"a": "b"}, "memory": "20Gi"}) | {"status": status}
    assert spec_of(selected) == {"product": "NVIDIA-L4", "memory": "20Gi", "nodeSelector": {"a": "b"}}
    declared = made("GpuPool", "west", {"nodeSelector": {"a": "b"}, "architecture": "ada"}) | {"status": status}
    assert spec_of(declared) == {"nodeSelector": {"a": "b"}, "architecture": "ada"}


def test_what_is_kept_is_read_as_the_same() -> None:
    found = read(made("ModelInferencePolicy", "chat", {"port": 2, "models": ["a"]}))
    again = read(json.loads(json.dumps(kept(found))))
    assert (again.key, again.created, again.spec, again.problems) == (found.key, found.created, found.spec, ())
    assert again.document
    assert found.document
    assert again.document.value == found.document.value


ROLLED_OUT = {
    "models": ["a"],
    "versions": [{"name": "v1", "weight": 3}, {"name": "v2", "weight": 0}],
    "rollout": {"to": "v2", "guards": [{"metric": "errors", "max": "1%"}]},
}


def test_a_policy_has_the_weights_of_its_rollout_also_where_it_is_kept() -> None:
    state = RolloutState("chat", "v2", "Progressing", 25, 1_800_000_000.5)
    in_force = {"inForce": {"generation": 1, "spec": ROLLED_OUT}, "rollout": told(state)}
    found = read(made("ModelInferencePolicy", "chat", {"port": 2}) | {"status": in_force})
    assert found.rollout == state
    for one in (found, read(json.loads(json.dumps(kept(found))))):
        assert one.document is not None
        assert isinstance(one.document.value, Policy)
        assert {version.name: version.weight for version in one.document.value.versions} == {"v1": 3, "v2": 1}
        assert (one.spec, one.rollout) == (ROLLED_OUT, state)
    assert found.problems == ()


def test_keys() -> None:
    key = key_of(made("GpuPool", "west", {}))
    assert (key, str(key)) == (Key("GpuPool", "ai", "west"), "GpuPool ai/west")


def test_where_a_controller_works_objects_wait_for_it() -> None:
    told = made("ModelInferencePolicy", "told", {}) | {"status": {"inForce": {"generation": 1, "spec": {}}}}
    odd = told | {"status": {"inForce": {"spec": "odd"}}}
    new = made("ModelInferencePolicy", "new", {}) | {"status": {"conditions": []}}
    pool = made("GpuPool", "west", {"product": "NVIDIA-L4"}, uid="1")
    assert [is_in_force(one) for one in (told, odd, new, pool)] == [True, False, False, False]
    assert released([new, told, odd, pool], set()) == [told]
    assert released([new, told, pool], {identity_of(new), identity_of(pool)}) == [new, told, pool]
    again = made("GpuPool", "west", {"product": "NVIDIA-L4"}, uid="2")
    assert released([told, again], {identity_of(pool)}) == [told]


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("payments.prod.svc.cluster.local", True),
        ("payments.prod.svc", True),
        ("payments.ai.svc.cluster.local", False),
        ("payments", False),
        ("llm.example.com", False),
        ("a.svc.example.com", True),
    ],
)
def test_no_policy_takes_the_host_of_another_namespace(host: str, told: bool) -> None:
    one = read(made("ModelInferencePolicy", "chat", {"host": host, "versions": [VERSION]}))
    assert one.right is not told
    assert [problem.path for problem in one.problems if not problem.warning] == ["spec.host"] * told
