"""Changes of policies through a mesh that follows late: no decided request is lost or reaches another version.

A simulation: every write of an object reaches the proxy, and every change of what is in force the processor, after a
delay of its own below the settle time. At every moment in which one of them changes, each request that the processor
may decide is routed by what the proxy has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc import headers
from extproc.kubernetes import change_order
from extproc.kubernetes.change_order import STEPS, Pass, PutInForce, Wants, Write
from extproc.kubernetes.mesh_objects import Doc, Key, changes, controlled, key_of, serving_both
from extproc.kubernetes.transition import between
from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.istio.istio_options import POOL_LABEL, VERSION_LABEL, IstioOptions, service_host
from extproc.render.istio.manifests import documents
from tests.unit.kubernetes.routing import NotServedError, destinations

OPTIONS = IstioOptions(proxies=("sidecar",), namespace="ai")
SETTLE = 1.0
Delays = Iterator[float]


class Mesh:
    """Objects as they are stored, and as they reach the proxy; sets of policies, and as they reach the processor."""

    def __init__(self, delays: Delays) -> None:
        self.now = 0.0
        self.live: dict[Key, Doc] = {}
        self._delays = delays
        self._objects: list[tuple[float, Key, Doc | None]] = []
        self._in_force: list[tuple[float, Snapshot]] = [(0.0, Snapshot())]
        self._pass = Pass(SETTLE)

    @property
    def in_force(self) -> Snapshot:
        return self._in_force[-1][1]

    def write(self, key: Key, doc: Doc | None) -> None:
        self._objects.append((self.now + next(self._delays), key, doc))
        if doc is None:
            del self.live[key]
        else:
            self.live[key] = doc

    def put_in_force(self, snapshot: Snapshot) -> None:
        self._in_force.append((self.now + next(self._delays), snapshot))

    def moments(self) -> list[float]:
        return sorted({one[0] for one in self._objects} | {one[0] for one in self._in_force})

    def seen(self, now: float) -> tuple[list[Doc], Snapshot]:
        objects: dict[Key, Doc | None] = {key: doc for when, key, doc in self._objects if when <= now}
        return [doc for doc in objects.values() if doc], next(s for when, s in reversed(self._in_force) if when <= now)

    def change_to(self, wanted: Snapshot, *, steps: int = len(STEPS)) -> bool:
        """A pass, broken off after some steps; whether it wrote anything."""
        later = controlled(documents(wanted, OPTIONS), "istio")
        both = controlled(documents(between(self.in_force, wanted), OPTIONS), "istio")
        one, ever = self._pass, False
        one.begin(self.now)
        for _ in range(steps):
            step = one.step
            assert step is not None
            self.now += one.wait(self.now) + 0.001
            wrote = False
            match step:
                case Write(layers, wants, remove):
                    objects = serving_both(both, later, self.live) if wants is Wants.BOTH else later
                    found = changes(objects, self.live, layers, remove=remove)
                    for doc in (*found.first, *found.apply):
                        self.write(key_of(doc), doc)
                    for gone in found.remove:
                        self.write(key_of(gone), None)
                    wrote = bool(found)
                case PutInForce():
                    wrote = self.in_force != wanted
                    if wrote:
                        self.put_in_force(wanted)
            one.done(self.now, wrote=wrote)
            ever = ever or wrote
        if steps == len(STEPS):
            assert one.step is None
        return ever


def requests(snapshot: Snapshot) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """Host, headers and the labels of the pods that are to answer, for all that may be decided.

    Without headers: where no processor has answered, any pod may.
    """
    for policy in snapshot.policies:
        yield service_host(policy, OPTIONS), {}, {}
        for version in policy.answering:
            for target in snapshot.targets[policy.name, version.name]:
                for model in policy.models:
                    chosen = {
                        headers.MODEL_NAME: model.replace("*", "7"),
                        headers.MODEL_VERSION: version.name,
                        headers.GPU_POOL: target.pool,
                    }
                    labels = {VERSION_LABEL: version.name, POOL_LABEL: target.pool}
                    yield (
                        service_host(policy, OPTIONS),
                        {name: value for name, value in chosen.items() if value},
                        {name: value for name, value in labels.items() if value},
                    )


def check(mesh: Mesh) -> None:
    for now in mesh.moments():
        objects, snapshot = mesh.seen(now)
        for host, asked, labels in requests(snapshot):
            found = destinations(objects, host, asked)
            if labels:
                assert found, f"at {now}: {asked} has no route of its own"
            for reached in found if labels else ():
                assert reached.items() <= labels.items(), f"at {now}: {asked} reached {reached}"
                assert reached.get(VERSION_LABEL) == labels[VERSION_LABEL]


POOLS = (
    GpuPool("west", describe("NVIDIA-A100-SXM4-80GB")),
    GpuPool("east", describe("NVIDIA-A100-SXM4-80GB"), ("10.0.9.1:80", "10.0.9.2:80")),
)


def versions(of: str) -> st.SearchStrategy[tuple[Version, ...]]:
    """Names are the policy's own: the same headers never mean two things."""
    one = st.builds(
        Version,
        st.sampled_from([f"{of}-1", f"{of}-2", f"{of}-3"]),
        st.integers(1, 9),
        st.sampled_from([(), ("10.0.1.1:80",), ("10.0.9.1:80", "10.0.1.2:80")]),
        gpu_pools=st.sampled_from([None, ("west",), ("east", "west")]),
    )
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda v: v.name).map(tuple)


def policies(name: str, models: list[str]) -> st.SearchStrategy[Policy | None]:
    return st.none() | st.builds(
        Policy,
        st.just(name),
        st.just("ai"),
        host=st.sampled_from(["chat", name]),
        models=st.lists(st.sampled_from(models), min_size=1, unique=True).map(tuple),
        versions=versions(name),
        gpu=st.sampled_from([None, Requirement("a100"), Requirement("h100")]),
        reject_without_gpu=st.booleans(),
        allow_pin=st.booleans(),
    )


SNAPSHOTS = st.builds(
    lambda a, b, pools: Snapshot(tuple(p for p in (a, b) if p), pools),
    policies("a", ["m", "m-*", "a*"]),
    policies("b", ["n", "n-*", "*"]),
    st.sampled_from([POOLS, POOLS[:1]]),
)
DELAYS = st.lists(st.floats(0.0, 0.9), min_size=1, max_size=20)


def forever(delays: list[float]) -> Delays:
    while True:
        yield from delays


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(DELAYS, st.lists(st.tuples(SNAPSHOTS, st.integers(1, len(STEPS))), min_size=1, max_size=4))
def test_no_request_is_lost_or_misled(delays: list[float], wanted: list[tuple[Snapshot, int]]) -> None:
    """Passes that end anywhere, each after the other; then one that ends, after which nothing is left to write."""
    mesh = Mesh(forever(delays))
    for snapshot, steps in wanted:
        mesh.change_to(snapshot, steps=steps)
    last = wanted[-1][0]
    mesh.change_to(last)
    check(mesh)
    assert mesh.live == controlled(documents(last, OPTIONS), "istio")
    assert not mesh.change_to(last)


def chat(*names: str, host: str = "chat") -> Snapshot:
    return Snapshot((Policy("chat", "ai", host=host, models=("m",), versions=tuple(map(Version, names))),))


BENEATH, ROUTES, FILTERS, IN_FORCE, PROCESSORS, ROUTES_LATER, BENEATH_LATER = STEPS


@pytest.mark.parametrize(
    ("order", "before", "after"),
    [
        ([IN_FORCE, BENEATH, ROUTES, FILTERS, PROCESSORS, ROUTES_LATER, BENEATH_LATER], ("v1",), ("v1", "v2")),
        ([ROUTES, BENEATH, FILTERS, IN_FORCE, PROCESSORS, ROUTES_LATER, BENEATH_LATER], ("v1",), ("v1", "v2")),
        ([ROUTES_LATER, BENEATH, ROUTES, FILTERS, IN_FORCE, PROCESSORS, BENEATH_LATER], ("v1", "v2"), ("v1",)),
        ([BENEATH, ROUTES, FILTERS, BENEATH_LATER, IN_FORCE, PROCESSORS, ROUTES_LATER], ("v1", "v2"), ("v1",)),
    ],
    ids=["processors first", "routes before subsets", "routes go first", "subsets go first"],
)
def test_another_order_loses_requests(
    monkeypatch: pytest.MonkeyPatch, order: list[Any], before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    """The orders that were seen to lose requests on a real control plane, so that the simulation can be believed."""
    mesh = Mesh(forever([0.1, 0.9, 0.3]))
    mesh.change_to(chat(*before))
    monkeypatch.setattr(change_order, "STEPS", tuple(order))
    mesh.change_to(chat(*after))
    with pytest.raises((AssertionError, NotServedError)):
        check(mesh)


def test_without_a_settle_time_requests_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.kubernetes.test_change_order.SETTLE", 0.0)
    mesh = Mesh(forever([0.9, 0.9, 0.9, 0.9, 0.0]))
    mesh.change_to(chat("v1"))
    mesh.change_to(chat("v1", "v2"))
    with pytest.raises((AssertionError, NotServedError)):
        check(mesh)


def test_a_pass_waits_only_where_something_was_written() -> None:
    one = Pass(settle=2.0)
    one.begin(100.0)
    assert one.wait(100.0) == 0.0
    one.done(100.0, wrote=False)
    assert (one.step, one.wait(100.0)) == (STEPS[1], 0.0)
    one.done(101.0, wrote=True)
    assert (one.step, one.wait(101.5), one.wait(104.0)) == (STEPS[2], 1.5, 0.0)
    for _ in STEPS[2:]:
        one.done(105.0, wrote=False)
    assert one.step is None


def test_the_next_pass_begins_at_once() -> None:
    one = Pass(settle=2.0)
    one.begin(100.0)
    for _ in STEPS:
        one.done(100.0, wrote=True)
    one.begin(100.5)
    assert (one.step, one.wait(100.5)) == (STEPS[0], 0.0)


def test_after_a_pass_that_was_broken_off_the_next_one_waits() -> None:
    one = Pass(settle=2.0)
    one.begin(100.0)
    one.done(100.0, wrote=False)
    one.begin(101.0)
    assert (one.step, one.wait(101.0), one.wait(103.0)) == (STEPS[0], 2.0, 0.0)
