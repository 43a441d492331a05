"""What a pass writes into each mesh, and whose it is. Pure.

Among a thousand policies it takes seconds, so the controller has it done beside its event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import cache, partial

import msgspec

from extproc.errors import SetupError
from extproc.kubernetes.api import POLICIES
from extproc.kubernetes.change_order import Wants, Write
from extproc.kubernetes.desired_state import Desired, policy_texts
from extproc.kubernetes.mesh_objects import Changes, Doc, Key, changes, controlled, serving_both
from extproc.kubernetes.mesh_writer import MeshWriter
from extproc.kubernetes.object_documents import Key as ObjectKey
from extproc.kubernetes.transition import between
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.istio.istio_options import whole_name

Renderer = Callable[[Snapshot, Callable[[], Mapping[str, str]]], Sequence[Doc]]
"""Objects of one mesh for a snapshot. The second argument gives the policy files that processors would read, for a mesh
that has them in its objects. Raises ``SetupError`` for policies that the mesh can't carry out.
"""
Meshes = Sequence[tuple[MeshWriter, Renderer]]
Objects = dict[Key, Doc]


def rendered(meshes: Meshes, before: Snapshot, desired: Desired) -> tuple[list[Objects], list[Objects]]:
    """Each mesh's objects for the way from ``before`` to what is to be, and those for that. Raises ``SetupError``."""
    way = between(before, desired.snapshot)
    later = _render(meshes, desired.snapshot, desired)
    return (later if way is desired.snapshot else _render(meshes, way, desired)), later


def _render(meshes: Meshes, snapshot: Snapshot, desired: Desired) -> list[Objects]:
    texts = cache(partial(policy_texts, desired))
    return [controlled(render(snapshot, texts), writer.mesh) for writer, render in meshes]


def step_changes(
    step: Write, both: Mapping[Key, Doc], later: Mapping[Key, Doc], live: Mapping[Key, Doc], given_up: Set[Key]
) -> Changes:
    """What a step writes into one mesh, whose objects are ``live``; without those that were ``given_up``."""
    wanted = serving_both(both, later, live) if step.wants is Wants.BOTH else later
    return changes(wanted, live, step.layers, remove=step.remove, leave=given_up)


def unrenderable(meshes: Meshes, desired: Desired, error: SetupError) -> dict[ObjectKey, str]:
    """The policies that a mesh can't carry out; where each could be alone, the newest. ``error``: of all together."""
    found: dict[ObjectKey, str] = {}
    newest = None
    for newest, policy in _policies(desired):
        for _, render in meshes:
            try:
                render(_alone(policy, desired), dict)
            except SetupError as own:
                found[newest] = str(own)
    return found or ({newest: str(error)} if newest is not None else {})


def policies_of(failures: Mapping[Key, str], desired: Desired, render: Renderer) -> dict[ObjectKey, str]:
    """The policies that need objects which could not be written, each with its reason."""
    found: dict[ObjectKey, str] = {}
    for key, policy in _policies(desired):
        needs = controlled(render(_alone(policy, desired), dict), "").keys()
        failed = [f"{object_key}: {why}" for object_key, why in failures.items() if _whole(object_key) in needs]
        if failed:
            found[key] = failed[0]
    return found


def _whole(key: Key) -> Key:
    """Of one policy alone nothing is divided."""
    return msgspec.structs.replace(key, name=whole_name(key.name))


def _policies(desired: Desired) -> Iterator[tuple[ObjectKey, Policy]]:
    """Oldest first."""
    by_name = {key.name: key for key in desired.in_force if key.kind == POLICIES.kind}
    return ((by_name[policy.name], policy) for policy in desired.snapshot.policies)


def _alone(policy: Policy, desired: Desired) -> Snapshot:
    return Snapshot((policy,), desired.snapshot.pools, desired.snapshot.generation)
