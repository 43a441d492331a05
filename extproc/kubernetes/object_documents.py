"""Objects of the API as documents of a policy file: read by the same code, with the same problems. Pure.

A policy to which the controller has written what is in force is read as that, not as its spec, and with the weights of
its rollout (``rollout_in_status``); a pool whose GPUs the
controller has read from its nodes is read with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from collections.abc import Mapping as AbstractMapping
from typing import Any, TypeAlias

import msgspec

from extproc.errors import Problem
from extproc.kubernetes import rollout_in_status
from extproc.kubernetes.api import POLICIES, Object
from extproc.policy.rollout_plan import RolloutState
from extproc.policy.snapshot import GpuPool, Policy
from extproc.policyfile import kinds
from extproc.policyfile.fields import Field
from extproc.policyfile.kinds import Document
from extproc.yamldoc import MAX_DEPTH, Items, Mapping, Node, Scalar

Spec: TypeAlias = AbstractMapping[str, Any]


class Key(msgspec.Struct, frozen=True, order=True):
    """What an object is called."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


Identity: TypeAlias = tuple[Key, str]
"""What an object is called, and its ``metadata.uid``."""


class ReadObject(msgspec.Struct, frozen=True):
    """An object as it was read. ``document``: None where nothing can be made of it."""

    key: Key
    created: str
    """``metadata.creationTimestamp``."""
    spec: Spec
    """What was read: the object's spec, or what its status says is in force."""
    document: Document[Policy] | Document[GpuPool] | None
    problems: tuple[Problem, ...]
    """Of the object by itself, warnings included."""
    rollout: RolloutState | None = None
    """How far its rollout has come: what the weights in ``document`` follow from, beside ``spec``."""

    @property
    def right(self) -> bool:
        """Whether it is right by itself."""
        return self.document is not None and all(problem.warning for problem in self.problems)


def key_of(found: Object) -> Key:
    """What an object is called."""
    metadata = found["metadata"]
    return Key(str(found["kind"]), str(metadata.get("namespace", "")), str(metadata["name"]))


def kept(one: ReadObject) -> Object:
    """An object of which ``read`` makes the same."""
    places = {"name": one.key.name, "namespace": one.key.namespace, "creationTimestamp": one.created}
    metadata = {name: value for name, value in places.items() if value}
    found = {"apiVersion": kinds.API_VERSION, "kind": one.key.kind, "metadata": metadata, "spec": dict(one.spec)}
    return found | ({"status": {"rollout": rollout_in_status.told(one.rollout)}} if one.rollout is not None else {})


def spec_of(found: Object) -> Spec:
    """The spec that holds: of a policy what its status says is in force, of a pool with what was found of its nodes."""
    spec, status = found.get("spec"), found.get("status")
    if not isinstance(spec, dict) or not isinstance(status, dict):
        return spec if isinstance(spec, dict) else {}
    if is_in_force(found):
        return dict(status["inForce"]["spec"])
    if "nodeSelector" in spec and not spec.keys() & {"product", "architecture"}:
        return {name: status[name] for name in ("product", "architecture", "memory") if status.get(name)} | spec
    return spec


def is_in_force(found: Object) -> bool:
    """Whether a controller has written into its status what of it is in force."""
    status = found.get("status")
    in_force = status.get("inForce") if isinstance(status, dict) else None
    return isinstance(in_force, dict) and isinstance(in_force.get("spec"), dict)


def identity_of(found: Object) -> Identity:
    """Tells an object from a later one of its name."""
    return key_of(found), str(found["metadata"].get("uid", ""))


def released(objects: Iterable[Object], served: Set[Identity]) -> list[Object]:
    """The objects that processors may decide by where a controller works: those that it has put in force, and until it
    has come to them those that are ``served`` already. The others wait: the mesh does not have yet what they need, or
    they were refused.
    """
    return [one for one in objects if is_in_force(one) or identity_of(one) in served]


def read(found: Object) -> ReadObject:
    """The object as a document. Raises nothing, whatever is in it."""
    key, spec = key_of(found), spec_of(found)
    metadata = found["metadata"]
    named = {name: metadata[name] for name in ("name", "namespace") if name in metadata}
    problems: list[Problem] = []
    document = None
    rollout = rollout_in_status.state_of(found) if key.kind == POLICIES.kind else None
    try:
        root = node_of({"apiVersion": found.get("apiVersion"), "kind": key.kind, "metadata": named, "spec": spec})
    except _TooDeep:
        message = f"nested deeper than {MAX_DEPTH} levels"
        problems.append(Problem(str(key), 0, 0, "", message, "write it flat: no field lies as deep"))
    else:
        document = kinds.read(str(key), problems, root)
        if document is not None and isinstance(document.value, Policy):
            _hold_to_namespace(document.value, key, document.field)
            document = Document(document.field, rollout_in_status.with_state(document.value, rollout))
    return ReadObject(key, str(metadata.get("creationTimestamp", "")), spec, document, tuple(problems), rollout)


def _hold_to_namespace(policy: Policy, key: Key, field: Field) -> None:
    """An error for a host that is another namespace's Service: the controller writes routes for it with rights of its
    own, so that whoever may write policies in one namespace would have the requests of all.
    """
    _, is_service, _ = f"{policy.host}.".partition(".svc.")
    namespace = policy.host.split(".")[1] if is_service and policy.host.count(".") else key.namespace
    if namespace != key.namespace:
        field.at("spec", "host").error(
            f"is a Service of the namespace {namespace}, and the policy is in {key.namespace}",
            f"write the policy in the namespace {namespace}",
        )


class _TooDeep(Exception):  # noqa: N818
    pass


def node_of(value: object, depth: int = 1) -> Node:
    """A value of JSON as a tree without lines."""
    if depth > MAX_DEPTH:
        raise _TooDeep
    match value:
        case dict():
            return Mapping(0, 0, tuple((_scalar(str(k)), node_of(v, depth + 1)) for k, v in value.items()))
        case list() | tuple():
            return Items(0, 0, tuple(node_of(item, depth + 1) for item in value))
        case None:
            return Scalar(0, 0, "", "null")
        case bool():
            return Scalar(0, 0, str(value).lower(), "bool")
        case int() | float():
            return Scalar(0, 0, repr(value), type(value).__name__)
    return _scalar(str(value))


def _scalar(text: str) -> Scalar:
    return Scalar(0, 0, text, "str")
