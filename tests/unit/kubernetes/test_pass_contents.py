"""What a pass writes: renderings, the changes of a step, and whose objects could not be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from extproc.errors import SetupError
from extproc.kubernetes.change_order import STEPS, Write
from extproc.kubernetes.cluster_view import ClusterView
from extproc.kubernetes.desired_state import Desired, DesiredState
from extproc.kubernetes.mesh_objects import Doc, Key
from extproc.kubernetes.mesh_writer import ISTIO, MeshWriter
from extproc.kubernetes.ownership import Ownership
from extproc.kubernetes.pass_contents import policies_of, rendered, step_changes, unrenderable
from extproc.policy.snapshot import Snapshot
from extproc.render.istio import virtual_services
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from tests.unit.kubernetes.memory_api import made


def render(snapshot: Snapshot, _: Callable[[], Mapping[str, str]]) -> Sequence[Doc]:
    if any(policy.port == 666 for policy in snapshot.policies):
        raise SetupError("no mesh has the port 666")
    return documents(snapshot, IstioOptions(proxies=("gateway",)))


MESHES = [(MeshWriter("istio", Ownership("ai/controller"), ISTIO), render)]


def desired(*ports: int) -> Desired:
    """Policies p0, p1 and so on, oldest first."""
    objects = []
    for n, port in enumerate(ports):
        spec = {"models": [f"m{n}"], "host": f"h{n}", "port": port, "versions": [{"name": "v1"}]}
        objects.append(made("ModelInferencePolicy", f"p{n}", spec, creationTimestamp=f"2026-01-01T00:00:0{n}Z"))
    return DesiredState().take(objects, ClusterView())


def test_where_nothing_changes_both_renderings_are_one() -> None:
    wanted = desired(80, 80)
    both, later = rendered(MESHES, wanted.snapshot, wanted)
    assert both is later
    both, later = rendered(MESHES, Snapshot(), wanted)
    assert both[0].keys() == later[0].keys()


def test_a_step_is_about_what_it_wants() -> None:
    wanted, before = desired(80, 80), desired(80)
    both, later = rendered(MESHES, before.snapshot, wanted)
    _, live = rendered(MESHES, before.snapshot, before)
    steps = [step for step in STEPS if isinstance(step, Write)]
    written = [step_changes(step, both[0], later[0], live[0], frozenset()) for step in steps]
    kinds = {doc["kind"] for change in written for doc in (*change.first, *change.apply)}
    assert kinds >= {"VirtualService", "EnvoyFilter"}
    given_up = {key for key in later[0] if key.kind == "VirtualService"}
    spared = step_changes(steps[1], both[0], later[0], live[0], given_up)
    assert not spared


@pytest.mark.parametrize(("ports", "found"), [((80, 666), {"p1"}), ((666, 666), {"p0", "p1"})])
def test_policies_that_can_not_be_carried_out(ports: tuple[int, ...], found: set[str]) -> None:
    why = unrenderable(MESHES, desired(*ports), SetupError("together"))
    assert {key.name for key in why} == found
    assert set(why.values()) == {"no mesh has the port 666"}


def test_where_each_could_be_alone_it_is_the_newest() -> None:
    why = unrenderable(MESHES, desired(80, 80), SetupError("together"))
    assert {key.name: text for key, text in why.items()} == {"p1": "together"}


def test_a_part_that_can_not_be_written_is_everybodys_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_services, "MAX_ROUTES", 4)
    wanted = desired(80, 80)
    _, (later,) = rendered(MESHES, Snapshot(), wanted)
    part = next(key for key in later if "-part-" in key.name)
    assert {key.name for key in policies_of({part: "no"}, wanted, render)} == {"p0", "p1"}
    rule = next(key for key in later if key.kind == "DestinationRule" and "h1" in key.name)
    assert {key.name: why for key, why in policies_of({rule: "no"}, wanted, render).items()} == {"p1": f"{rule}: no"}
    assert policies_of({Key("", "Service", "ai", "else"): "no"}, wanted, render) == {}
