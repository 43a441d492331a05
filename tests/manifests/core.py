"""Manifests of Kubernetes' own kinds: the API's schemas (from the package kubernetes-validate), closed to unknown
fields, and what the API server checks beyond them in the kinds that we write: names, ports, quantities, references.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import referencing
import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from tests.manifests import crds

Tree = dict[str, Any]
RELEASE = "1.37.0"
"""Of Kubernetes."""


def problems(manifest: Tree) -> list[str]:
    """Everything that is wrong with ``manifest``, a plain tree; each with kind, name and path.

    Raises UnknownKindError for what Kubernetes itself does not have.
    """
    validator = _validator(str(manifest.get("apiVersion")), str(manifest.get("kind")))
    name = f"{manifest['kind']}/{manifest.get('metadata', {}).get('name')}"
    found = [*crds.metadata_problems(manifest.get("metadata")), *map(_said, validator.iter_errors(manifest))]
    found += [f"{path}: is null" for path in _nulls(manifest, "$")]
    if not found:
        found += _beyond(manifest)
    return [f"{name}: {problem}" for problem in found]


def all_problems(text: str, unchecked: Mapping[tuple[str, str], str] = MappingProxyType({})) -> list[str]:
    """Of every document in a YAML text, Kubernetes' own kinds and those of CRDs; empty documents are problems.

    ``unchecked``: (apiVersion, kind) of what has no CRD here, and why. Of any other that has none it raises
    UnknownKindError, and of these where there is one after all.
    """
    found: list[str] = []
    for number, manifest in enumerate(yaml.load_all(text, crds.LOADER), 1):
        if not isinstance(manifest, dict):
            found.append(f"document {number}: no object")
            continue
        which = str(manifest.get("apiVersion")), str(manifest.get("kind"))
        if which in unchecked and which not in crds.kinds():
            continue
        try:
            found += problems(manifest)
        except crds.UnknownKindError:
            found += crds.problems(manifest)
        if which in unchecked:
            raise ValueError(f"{which} can be checked: don't say that {unchecked[which]}")
    return found


def _said(error: ValidationError) -> str:
    cause = best_match(error.context) if error.context else error
    return f"{(cause or error).json_path}: {(cause or error).message[:200]}"


def _nulls(value: Any, path: str) -> Iterator[str]:
    """The schemas take null anywhere; a manifest that has one has lost a value."""
    if value is None:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _nulls(item, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key}]")


@cache
def _definitions() -> referencing.Registry[Any]:
    whole = _read("_definitions.json")
    resource: referencing.Resource[Any] = referencing.Resource.from_contents(whole)
    registry: referencing.Registry[Any] = referencing.Registry().with_resource(whole["$id"], resource)
    return registry


@cache
def _validator(version: str, kind: str) -> Draft202012Validator:
    group, _, number = version.rpartition("/")
    file = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part) + ".json"
    try:
        schema = _read(file)
    except OSError as e:
        raise crds.UnknownKindError(f"Kubernetes {RELEASE} has no {version} {kind}") from e
    if not any(_is(which, group, number, kind) for which in schema.get("x-kubernetes-group-version-kind", ())):
        raise crds.UnknownKindError(f"Kubernetes {RELEASE} has no {version} {kind}")
    return Draft202012Validator(schema, registry=_definitions())


def _is(which: Tree, group: str, version: str, kind: str) -> bool:
    return (which["group"], which["version"], which["kind"]) == (group, version, kind)


def _read(file: str) -> Tree:
    path = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{RELEASE}-local-strict" / file
    return json.loads(path.read_text())  # type: ignore[no-any-return]


# What the schemas don't say.

_QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


def _beyond(manifest: Tree) -> Iterator[str]:
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Deployment" | "DaemonSet" | "StatefulSet":
            labels = spec["template"].get("metadata", {}).get("labels", {})
            for key, value in spec["selector"].get("matchLabels", {}).items():
                if labels.get(key) != value:
                    yield f"$.spec.selector.matchLabels.{key}: the template's label is {labels.get(key)!r}"
            yield from _pod(spec["template"]["spec"], "$.spec.template.spec")
        case "Pod":
            yield from _pod(spec, "$.spec")
        case "Service":
            if not _SERVICE_NAME.fullmatch(manifest["metadata"]["name"]):
                yield "$.metadata.name: a Service is named by one DNS label that begins with a letter"
            yield from _ports(spec.get("ports", []), "$.spec.ports", "port")
        case "PodDisruptionBudget" if ("minAvailable" in spec) == ("maxUnavailable" in spec):
            yield "$.spec: wants one of minAvailable and maxUnavailable"


def _pod(spec: Tree, path: str) -> Iterator[str]:
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    yield from _unique(volumes, f"{path}.volumes")
    containers = [
        (f"{path}.{field}[{i}]", container)
        for field in ("initContainers", "containers")
        for i, container in enumerate(spec.get(field, []))
    ]
    yield from _unique([container["name"] for _, container in containers], f"{path}.containers")
    for at, container in containers:
        if not container.get("image"):
            yield f"{at}: misses image"
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{at}.volumeMounts: no volume {mount['name']!r}"
        yield from _unique([m["mountPath"] for m in container.get("volumeMounts", [])], f"{at}.volumeMounts")
        yield from _ports(container.get("ports", []), f"{at}.ports", "containerPort")
        named = {port.get("name") for port in container.get("ports", [])}
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            for way in ("httpGet", "tcpSocket"):
                port = container.get(probe, {}).get(way, {}).get("port")
                if isinstance(port, str) and port not in named:
                    yield f"{at}.{probe}.{way}.port: no port {port!r}"
        for of, amounts in container.get("resources", {}).items():
            for resource, amount in amounts.items() if isinstance(amounts, dict) else ():
                if not _QUANTITY.fullmatch(str(amount)):
                    yield f"{at}.resources.{of}.{resource}: {amount!r} is no quantity"


def _ports(ports: list[Tree], path: str, field: str) -> Iterator[str]:
    for i, port in enumerate(ports):
        if not 1 <= port[field] <= 65535:
            yield f"{path}[{i}].{field}: {port[field]} is no port"
        for name in (port.get("name"), port.get("targetPort")):
            if isinstance(name, str) and not _PORT_NAME.fullmatch(name):
                yield f"{path}[{i}]: {name!r} is no name of a port (at most 15 of a-z, 0-9 and -)"
        if len(ports) > 1 and field == "port" and "name" not in port:
            yield f"{path}[{i}]: misses name, which each of several ports needs"
    yield from _unique([port["name"] for port in ports if "name" in port], path)
    yield from _unique([(port[field], port.get("protocol", "TCP")) for port in ports], path)


def _unique(names: list[Any], path: str) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{path}: {name!r} twice"
