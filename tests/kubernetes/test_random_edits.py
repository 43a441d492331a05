"""Random edits on a real API server: after each, objects are as rendered and a processor decides by what is wanted.

A state machine: ``Edits`` knows what there is, draws an edit of one of its kinds, and says what is then to be in force.
``EXTPROC_TEST_EDITS`` says how many (30), ``EXTPROC_TEST_SEED`` which (17).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml

from extproc.policy.snapshot import Snapshot
from extproc.policyfile.effective_policy import describe
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live, rendered, same
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_policies_carried_out import conditions, istio, policy
from tests.manifests.crds import needed
from tests.policy_documents import load_texts
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(14400)]
EDITS, SEED = int(os.environ.get("EXTPROC_TEST_EDITS", "30")), int(os.environ.get("EXTPROC_TEST_SEED", "17"))
PATIENCE = 180
POLICIES, POOLS = ("a", "b", "c"), ("east", "west")
PRODUCTS = ("NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3")
Doc = dict[str, Any]


@pytest.fixture
def processor(istio: ControlPlane, namespace: str) -> Iterator[ClusterProcessor]:
    with ClusterProcessor(istio.admin, "--namespace", namespace) as made:
        yield made.ready()


class Edits:
    """``known``: the objects as they are applied; ``good``: as they are to be in force."""

    def __init__(self, namespace: str, seed: int) -> None:
        self.known: dict[str, Doc] = {}
        self.good: dict[str, Doc] = {}
        self.made: Counter[str] = Counter()
        self._namespace, self._draw = namespace, random.Random(seed)

    def edit(self) -> None:
        """One edit, of those that are possible now."""
        possible = [(kind, choices) for kind, choices in self._kinds() if choices]
        kind, choices = self._draw.choice(possible)
        kind(self._draw.choice(choices))
        self.made[kind.__name__] += 1

    def _kinds(self) -> list[tuple[Callable[[str], None], list[str]]]:
        policies = [name for name in POLICIES if name in self.known]
        right = [name for name in policies if self.known[name] is self.good.get(name)]
        several = [name for name in right if len(self.known[name]["spec"]["versions"]) > 1]
        pools = [name for name in POOLS if name in self.known]
        named = {pool for name in policies for doc in (self.known[name], self.good.get(name)) for pool in _pools(doc)}
        return [
            (self.new_policy, [name for name in POLICIES if name not in self.known]),
            (self.other_policy, policies),
            (self.weight, right),
            (self.new_version, [name for name in right if len(self.known[name]["spec"]["versions"]) < 4]),
            (self.deleted_version, several),
            (self.moved_host, right),
            (self.sticky_header, right),
            (self.endpoints, right),
            (self.timeout, right),
            (self.model, right),
            (self.on_pool, right if pools else []),
            (self.bad_policy, right),
            (self.deleted, [*policies, *(pool for pool in pools if pool not in named)]),
            (self.new_pool, [name for name in POOLS if name not in self.known]),
            (self.other_product, pools),
            (self.renamed_pool, pools if len(pools) == 1 else []),
        ]

    def new_policy(self, name: str) -> None:
        versions = [{"name": f"v{i}", "weight": self._draw.randint(1, 9)} for i in self._draw.sample((1, 2, 3), 2)]
        spec = {"models": [name, f"{name}-*"], "host": self._draw.choice(["shared", name]), "versions": versions}
        self._put(name, policy(self._namespace, name, **spec))

    other_policy = new_policy

    def weight(self, name: str) -> None:
        self._change(name, lambda spec: self._draw.choice(spec["versions"]).update(weight=self._draw.randint(10, 99)))

    def new_version(self, name: str) -> None:
        taken = {version["name"] for version in self.known[name]["spec"]["versions"]}
        free = self._draw.choice([f"v{i}" for i in range(1, 6) if f"v{i}" not in taken])
        self._change(name, lambda spec: spec["versions"].append({"name": free, "weight": self._draw.randint(1, 9)}))

    def deleted_version(self, name: str) -> None:
        self._change(name, lambda spec: spec["versions"].pop(self._draw.randrange(len(spec["versions"]))))

    def moved_host(self, name: str) -> None:
        self._change(name, lambda spec: spec.update(host="shared" if spec["host"] == name else name))

    def sticky_header(self, name: str) -> None:
        self._change(name, lambda spec: spec.update(sticky={"header": self._draw.choice(["x-user", "x-team"])}))

    def endpoints(self, name: str) -> None:
        version = self._draw.randrange(len(self.known[name]["spec"]["versions"]))
        address = f"192.0.2.{self._draw.randint(1, 9)}:80"
        self._change(name, lambda spec: spec["versions"][version].update(endpoints=[address]))

    def timeout(self, name: str) -> None:
        seconds = self._draw.randint(1, 60)
        self._change(name, lambda spec: spec.update(trafficManagement={"timeout": f"{seconds}s"}))

    def model(self, name: str) -> None:
        model = f"{name}-{self._draw.randint(1, 3)}"
        self._change(name, lambda spec: spec.update(models=[name, f"{name}-*", model]))

    def on_pool(self, name: str) -> None:
        pool = self._draw.choice([pool for pool in POOLS if pool in self.known])
        self._change(name, lambda spec: spec["versions"][0].update(gpuPools=[pool]))

    def bad_policy(self, name: str) -> None:
        """Refused by the controller, not by the API server: what was in force stays."""
        bad = deepcopy(self.known[name])
        bad["spec"]["versions"][0]["gpuPools"] = ["nowhere"]
        self.known[name] = bad

    def deleted(self, name: str) -> None:
        del self.known[name]
        self.good.pop(name, None)

    def new_pool(self, name: str) -> None:
        pool = policy(self._namespace, name, product=self._draw.choice(PRODUCTS))
        self._put(name, {**pool, "kind": "GpuPool"})

    def other_product(self, name: str) -> None:
        other = [product for product in PRODUCTS if product != self.known[name]["spec"]["product"]]
        self._change(name, lambda spec: spec.update(product=other[0]))

    def renamed_pool(self, name: str) -> None:
        """Under another name, with the policies that name it."""
        (other,) = set(POOLS) - {name}
        for each in [each for each in POLICIES if each in self.known]:
            if name in {*_pools(self.known[each]), *_pools(self.good.get(each))}:
                self.new_policy(each)
                self._change(each, lambda spec: spec["versions"][0].update(gpuPools=[other]))
        doc = deepcopy(self.known[name])
        doc["metadata"]["name"] = other
        self.deleted(name)
        self._put(other, doc)

    def _change(self, name: str, change: Callable[[Doc], Any]) -> None:
        doc = deepcopy(self.known[name])
        change(doc["spec"])
        self._put(name, doc)

    def _put(self, name: str, doc: Doc) -> None:
        self.known[name] = self.good[name] = doc


def _pools(doc: Doc | None) -> list[str]:
    versions = doc["spec"].get("versions", ()) if doc else ()
    return [pool for version in versions for pool in version.get("gpuPools", ())]


def test_after_every_edit_everything_is_as_it_should_be(
    istio: ControlPlane, namespace: str, processor: ClusterProcessor
) -> None:
    edits = Edits(namespace, SEED)
    with ControllerProcess(istio, namespace) as controller:
        for number in range(EDITS):
            before = dict(edits.known)
            edits.edit()
            # What comes is applied before what it replaces goes.
            changed = [one for name, one in edits.known.items() if before.get(name) != one]
            if changed:
                istio.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(changed))
            for name in before.keys() - edits.known.keys():
                istio.kubectl("delete", before[name]["kind"].lower(), name, "-n", namespace)
            snapshot = _wanted(istio, namespace, edits)
            until(lambda snapshot=snapshot: same(live(istio), rendered(snapshot)), PATIENCE, pause=0.2)  # type: ignore[misc]
            until(lambda snapshot=snapshot: _decides_by(processor) == _decisions(snapshot), PATIENCE, pause=0.1)  # type: ignore[misc]
            until(lambda: _accepted(istio, namespace, edits), PATIENCE, pause=0.1)
            print(f"edit {number + 1}: {edits.made}", flush=True)
        assert controller.process.poll() is None
        assert "Traceback" not in controller.said()
        istio.kubectl("delete", "mip,gpupools", "--all", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)
        until(lambda: _decides_by(processor) == _decisions(Snapshot()), PATIENCE)


def _wanted(control_plane: ControlPlane, namespace: str, edits: Edits) -> Snapshot:
    columns = "jsonpath={range .items[*]}{.metadata.creationTimestamp} {.metadata.name}{'\\n'}{end}"
    listed = control_plane.kubectl("get", "mip,gpupools", "-n", namespace, "-o", columns).splitlines()
    names = [name for _, name in sorted(tuple(line.split()) for line in listed)]
    assert set(names) == edits.known.keys()
    texts = [(f"{name}.yaml", yaml.safe_dump(edits.good[name])) for name in names if name in edits.good]
    if not any(edits.good[name]["kind"] == "ModelInferencePolicy" for name in edits.good):
        return Snapshot(())
    return load_texts(texts).snapshot


def _decisions(snapshot: Snapshot) -> Doc:
    """What ``/config`` is to say; of pools nothing where there is no policy."""
    return _said(describe(snapshot))


def _decides_by(processor: ClusterProcessor) -> Doc:
    return _said(processor.config())


def _said(found: Doc) -> Doc:
    parts = ("policies", "models", "pools") if found["policies"] else ("policies", "models")
    return {part: found[part] for part in parts}


def _accepted(control_plane: ControlPlane, namespace: str, edits: Edits) -> bool:
    """Whether every policy's status tells what became of it."""
    for name in (name for name in POLICIES if name in edits.known):
        right = edits.known[name] is edits.good.get(name)
        found = conditions(control_plane, namespace, name)
        if {what: found[what][0] for what in ("Accepted", "Programmed") if what in found} != dict.fromkeys(
            ("Accepted", "Programmed"), str(right)
        ):
            return False
    return True
