"""Documents of a policy file by their kind: each to the module that reads it, with its metadata.

Each document is checked by itself here; ``cross_checks`` checks documents against each other.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from extproc.errors import Problem
from extproc.policy.snapshot import GpuPool, Policy
from extproc.policyfile import gpu_pool, model_inference_policy, values
from extproc.policyfile.fields import Field
from extproc.yamldoc import Node

API_VERSION = "ai.istio.io/v1alpha1"

V = TypeVar("V", Policy, GpuPool)


class Document(Generic[V]):
    """A document that was read. ``field``: its root; ``value``: with defaults where the file has errors."""

    def __init__(self, field: Field, value: V) -> None:
        self.field = field
        self.value: V = value

    @property
    def name_field(self) -> Field:
        """The field of the name."""
        return self.field.at("metadata", "name")


def read(file: str, problems: list[Problem], root: Node) -> Document[Policy] | Document[GpuPool] | None:
    """The document at ``root``; None where its kind is unknown. Adds to ``problems``."""
    field = Field(file, problems, root)
    top = field.fields("apiVersion", "kind", "metadata", "spec")
    if top is None:
        return None
    top.required("apiVersion", lambda f: f.choice(API_VERSION), f"write apiVersion: {API_VERSION}")
    kind = top.required("kind", lambda f: f.choice(*KINDS), f"write kind: {' or kind: '.join(KINDS)}")
    metadata = top.required("metadata", _metadata, "write metadata: {name: my-name}")
    spec = top.required("spec", lambda f: f, "write spec: with the fields below it")
    name, namespace = metadata or ("", "")
    if kind == "GpuPool":
        return Document(field, gpu_pool.read(spec, name, namespace))
    if kind is not None:
        return Document(field, model_inference_policy.read(spec, name, namespace))
    return None


KINDS = ("ModelInferencePolicy", "GpuPool")


def _metadata(field: Field) -> tuple[str, str] | None:
    metadata = field.fields("name", "namespace", "labels", "annotations")
    if metadata is None:
        return None
    for ignored in ("labels", "annotations"):
        metadata.optional(ignored, Field.entries, [])
    name = metadata.required("name", values.name, "give it a name: metadata: {name: my-name}")
    return name or "", metadata.optional("namespace", values.namespace, "")
