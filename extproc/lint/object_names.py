"""Objects by their names: what overwrites another, and what has none.

An object that is there twice with the same content, as where a file is given twice, is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource
from extproc.lint.mesh import Mesh
from extproc.lint.resource_kinds import KINDS

OVERWRITTEN = Rule(
    "AIM006",
    "error",
    "two objects of one name",
    "The API server has one object by that kind, namespace and name: whichever is applied last replaces the other, all "
    "of it. (Two versions of an API are no two kinds.)",
    "rename one of the two, or merge them",
)
BAD_NAME = Rule(
    "AIM007",
    "error",
    "a name that Kubernetes does not take",
    "The API server refuses the object.",
    "write lower-case letters, digits, - and ., beginning and ending with a letter or digit",
)
RULES = (OVERWRITTEN, BAD_NAME)

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAMESPACE = re.compile(_LABEL)
_MAX_NAME, _MAX_NAMESPACE = 253, 63


def once(resources: Iterable[Resource]) -> list[Resource]:
    """Without those that say again what one before them says."""
    found: dict[tuple[object, ...], Resource] = {}
    for resource in resources:
        found.setdefault((*_key(resource), resource.api_version, resource.root.content), resource)
    return list(found.values())


def check(mesh: Mesh) -> Iterator[Finding]:
    """The names of all resources."""
    first: dict[tuple[str, ...], Resource] = {}
    for resource in mesh.resources:
        metadata = resource.root.at("metadata")
        name, namespace = metadata.at("name"), metadata.at("namespace")
        if not name.text:
            continue
        if resource.kind in KINDS:
            if not _SUBDOMAIN.fullmatch(name.text) or len(name.text) > _MAX_NAME:
                yield name.breaks(BAD_NAME, f"{name.text} is no name of an object")
            if namespace and (not _NAMESPACE.fullmatch(namespace.text) or len(namespace.text) > _MAX_NAMESPACE):
                yield namespace.breaks(BAD_NAME, f"{namespace.text} is no name of a namespace")
        other = first.setdefault(_key(resource), resource)
        if other is not resource:
            what = f"{resource.kind} {name.text} of namespace {resource.namespace}"
            message = f"{what} is at {other.location} too, with other content"
            yield name.breaks(OVERWRITTEN, message)


def _key(resource: Resource) -> tuple[str, ...]:
    """By which the API server distinguishes objects."""
    return resource.group, resource.kind, resource.namespace, resource.name
