"""Objects to the snapshot that serves: one bad object hurts nobody else, and goes on as it last was."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from extproc.kubernetes.last_good import LastGood, Taken
from extproc.kubernetes.object_documents import ReadObject, kept, read
from extproc.policyfile import loader
from extproc.policyfile.loader import PolicyTexts
from tests.policy_documents import file
from tests.policy_documents import policy as policy_text
from tests.policy_documents import pool as pool_text
from tests.unit.kubernetes.fake_api import made


def policy(name: str = "chat", age: int = 0, namespace: str = "ai", **spec: Any) -> ReadObject:
    spec = {"models": [name], **spec}
    return read(made("ModelInferencePolicy", name, spec, age=age, namespace=namespace))


def pool(name: str = "west", product: str = "a100", age: int = 0, namespace: str = "ai") -> ReadObject:
    return read(made("GpuPool", name, {"product": product, "memory": "80Gi"}, age=age, namespace=namespace))


def on_pool(name: str = "west") -> dict[str, Any]:
    return {"versions": [{"name": "v1", "weight": 1, "gpuPools": [name]}], "gpuRequirements": {"architecture": "a100"}}


def ports(taken: Taken) -> dict[str, int]:
    return {found.name: found.port for found in taken.snapshot.policies}


def said(taken: Taken) -> list[str]:
    return [f"{problem.file} {problem.path}: {problem.message}" for problem in taken.problems]


def counted(taken: Taken) -> tuple[int, ...]:
    return tuple(taken.states[state] for state in ("in_force", "held", "left_out"))


def test_nothing_is_a_snapshot_as_well() -> None:
    taken = LastGood().take([], generation=7)
    assert (taken.snapshot.policies, taken.snapshot.pools, taken.snapshot.generation) == ((), (), 7)
    assert (counted(taken), said(taken)) == ((0, 0, 0), [])


def test_a_bad_object_goes_on_as_it_last_was() -> None:
    last_good = LastGood()
    other = policy("code", port=1)
    assert ports(last_good.take([policy(port=1), other])) == {"chat": 1, "code": 1}
    taken = last_good.take([policy(port=0), policy("code", port=2)])
    assert (ports(taken), counted(taken)) == ({"chat": 1, "code": 2}, (1, 1, 0))
    assert said(taken) == ["ModelInferencePolicy ai/chat spec.port: 0 is out of range"]
    taken = last_good.take([policy(port=3), other])
    assert (ports(taken), counted(taken), said(taken)) == ({"chat": 3, "code": 1}, (2, 0, 0), [])


def test_a_bad_object_that_never_was_good_is_left_out() -> None:
    taken = LastGood().take([policy(port=0), policy("code", port=2)])
    assert (ports(taken), counted(taken)) == ({"code": 2}, (1, 0, 1))


def test_what_is_deleted_is_gone_and_does_not_come_back_bad() -> None:
    last_good = LastGood()
    last_good.take([policy(port=1)])
    assert ports(last_good.take([])) == {}
    assert ports(last_good.take([policy(port=0)])) == {}


def test_the_older_has_what_only_one_can_have() -> None:
    last_good = LastGood()
    taken = last_good.take([policy("young", models=["m"]), policy("old", age=9, models=["m"]), policy("third")])
    assert (set(ports(taken)), counted(taken)) == ({"old", "third"}, (2, 0, 1))
    (problem,) = said(taken)
    assert problem.startswith("ai/young spec.models[0]: ")
    assert "old" in problem
    taken = last_good.take([policy("young", models=["m"]), policy("third")])
    assert (set(ports(taken)), said(taken)) == ({"young", "third"}, []), "the older one has been deleted"


def test_who_takes_what_an_older_one_has_goes_on_with_what_it_had() -> None:
    last_good = LastGood()
    old = policy("old", age=9)
    last_good.take([old, policy("young", port=1)])
    taken = last_good.take([old, policy("young", port=2, models=["old"])])
    assert (ports(taken)["young"], counted(taken)) == (1, (1, 1, 0))


def test_of_two_pools_with_one_name_the_older_serves() -> None:
    taken = LastGood().take(
        [pool(namespace="a", product="h100"), pool(namespace="b", age=5), policy(gpuRequirements={})]
    )
    assert ([found.gpu.product for found in taken.snapshot.pools], counted(taken)) == (["a100"], (2, 0, 1))
    assert said(taken) == [
        "GpuPool a/west metadata.name: the name west is another pool's, which is older: GpuPool b/west"
    ]


def test_a_pool_that_a_policy_in_force_names_stays_until_nobody_does() -> None:
    last_good = LastGood()
    chat = policy(**on_pool())
    last_good.take([chat, pool()])
    taken = last_good.take([chat])
    assert ([found.name for found in taken.snapshot.pools], counted(taken)) == (["west"], (1, 1, 0))
    assert said(taken) == [
        'ModelInferencePolicy ai/chat spec.versions[0].gpuPools[0]: no pool named "west" is declared'
    ]
    assert said(last_good.take([chat])) == said(taken)
    again = pool()
    assert said(last_good.take([chat, again])) == []
    taken = last_good.take([policy(port=1), again])
    assert counted(taken) == (2, 0, 0)
    assert last_good.take([policy(port=1)]).snapshot.pools == ()


def test_a_pool_that_no_longer_meets_what_a_policy_in_force_requires() -> None:
    last_good = LastGood()
    chat, code = policy(**on_pool()), policy("code", gpuRequirements={})
    last_good.take([chat, code, pool()])
    taken = last_good.take([chat, code, pool(product="h100")])
    assert ([found.gpu.product for found in taken.snapshot.pools], counted(taken)) == (["a100"], (2, 1, 0))
    assert "does not meet gpuRequirements" in said(taken)[0]
    taken = last_good.take([policy(), code, pool(product="h100")])
    assert ([found.gpu.product for found in taken.snapshot.pools], said(taken)) == (["h100"], [])


def test_a_new_policy_keeps_no_pool() -> None:
    last_good = LastGood()
    last_good.take([pool()])
    taken = last_good.take([policy(**on_pool())])
    assert (ports(taken), taken.snapshot.pools, counted(taken)) == ({}, (), (0, 0, 1))


def test_files_are_older_than_every_object() -> None:
    texts = file(policy_text("models: [m]", "of-file"), pool_text(name="west"), policy_text("models: [g]", "g"))
    documents = loader.documents(PolicyTexts((("p.yaml", texts),)))
    objects = [policy("young", age=50, models=["m"]), policy("third", **on_pool()), pool(product="h100")]
    last_good = LastGood()
    for _ in range(2):
        taken = last_good.take(objects, documents)
        assert set(ports(taken)) == {"of-file", "g", "third"}
        assert [found.gpu.product for found in taken.snapshot.pools] == ["NVIDIA-A100-SXM4-80GB"]
        assert "the name west is another pool's, which is older: p.yaml:9" in said(taken)[0]
        assert "p.yaml/of-file" in said(taken)[1]


def test_warnings_are_of_what_serves() -> None:
    texts = loader.documents(PolicyTexts((("p.yaml", pool_text(name="of-file")),)))
    taken = LastGood().take([policy(port=1), pool("unused")], texts)
    assert sorted(problem.file for problem in taken.warnings) == ["GpuPool ai/unused", "p.yaml"]


SPECS = st.sampled_from(
    [
        {"port": 1},
        {"port": 0},
        {"models": ["a"]},
        {"models": ["b"]},
        {"onUnreadable": "reject"},
        {"onUnreadable": "pass"},
        on_pool("x"),
        on_pool("y"),
        {"gpuRequirements": {}},
        {"observability": {"customMetrics": [{"name": "m", "type": "COUNTER"}]}},
        {"observability": {"customMetrics": [{"name": "m", "type": "GAUGE"}]}},
    ]
)


NAMESPACES = st.sampled_from(["n1", "n2"])


class Cluster(RuleBasedStateMachine):
    """Objects come, change and go at random; what serves is always without errors, and follows from one history."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, str], ReadObject] = {}
        self.one, self.other = LastGood(), LastGood()
        self.taken = self.one.take([])
        self.other.take([])

    @rule(name=st.sampled_from("abcd"), namespace=NAMESPACES, age=st.integers(0, 3), spec=SPECS)
    def put_policy(self, name: str, namespace: str, age: int, spec: dict[str, Any]) -> None:
        self.objects[namespace, name] = policy(name, age, namespace, **spec)

    @rule(
        name=st.sampled_from("xy"), namespace=st.sampled_from(["n1", "n2"]), product=st.sampled_from(["a100", "h100"])
    )
    def put_pool(self, name: str, namespace: str, product: str) -> None:
        self.objects[namespace, name] = pool(name, product, namespace=namespace)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.objects:
            del self.objects[data.draw(st.sampled_from(sorted(self.objects)))]

    @invariant()
    def what_serves_is_right(self) -> None:
        self.taken = self.one.take(self.objects.values())
        snapshot = self.taken.snapshot
        assert self.other.take(reversed(self.objects.values())).snapshot == snapshot, "in whatever order they come"
        again = LastGood().take([read(kept(one)) for one in self.one.serving.values()])
        assert (again.snapshot, again.problems) == (snapshot, ()), "as after a restart from disk"
        assert sum(self.taken.states.values()) >= len(self.objects)
        assert self.one.take(self.objects.values()).snapshot == snapshot
        alone = [one for one in self.objects.values() if one.right and not self.shares_anything(one)]
        assert all(self.one.serving.get(one.key) is one for one in alone)

    def shares_anything(self, one: ReadObject) -> bool:
        """Whether another object can stand in its way, by name, models, what holds for all, or pools."""
        if one.key.kind == "GpuPool":
            return True
        others = [other for other in (*self.objects.values(), *self.one.serving.values()) if other.key != one.key]
        if any(other.key.name == one.key.name for other in others):
            return True
        spec = one.spec
        if spec.keys() & {"onUnreadable", "versions", "observability"}:
            return True
        return any(set(spec["models"]) & set(other.spec.get("models", ())) for other in others)


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=60, stateful_step_count=12)
