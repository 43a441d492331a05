"""The objects of the mesh: which there should be, which there are, and what to write to make them so. Pure.

Objects are what ``render istio`` and ``linkerd-adapter render`` write, but for three things. A label says that the
controller made them: by it the controller finds what to remove, and it touches nothing else. An annotation has a digest
of what was applied last: so a field that is wanted no longer is told from one that somebody else has added. The
annotation by which a rendering is compared with policy files is left out: it has all policies in it, so that each
change of one policy would be a change of every object.

No object has an owner reference: of a deleted policy the API server's garbage collector would remove routes and subsets
in any order, and requests under way would fail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import IntEnum
from typing import Any, TypeAlias

import msgspec

from extproc.headers import GPU_POOL, MODEL_NAME, MODEL_VERSION
from extproc.render.istio.istio_options import GROUP
from extproc.render.istio.provenance import ANNOTATION

Doc: TypeAlias = dict[str, Any]

LABEL = f"{GROUP}/controller"
"""Label of every object that a controller made; its value is the mesh."""
LEASE = f"{GROUP}/lease"
"""Annotation of such an object with the Lease of its controller, ``namespace/name``."""
APPLIED = f"{GROUP}/applied"
"""Annotation with the digest of what was applied last."""


class Layer(IntEnum):
    """Objects by the order in which they are applied; they are removed the other way round."""

    BENEATH = 0
    """What routes lead to, and what lets requests in: endpoints, subsets, Services, authorizations."""
    ROUTES = 1
    FILTERS = 2
    """What shows requests to processors, and counts them."""
    PROCESSORS = 3
    """Linkerd's gateway, which has the policies in it: it changes with what is in force."""


_LAYERS = {
    **dict.fromkeys(("VirtualService", "HTTPRoute"), Layer.ROUTES),
    **dict.fromkeys(("EnvoyFilter", "Telemetry", "PrometheusRule"), Layer.FILTERS),
    # A Server keeps everybody out whom no AuthorizationPolicy lets in: it comes after those.
    **dict.fromkeys(("Server", "ConfigMap", "Deployment", "PodDisruptionBudget"), Layer.PROCESSORS),
}


class Key(msgspec.Struct, frozen=True, order=True):
    """What an object is."""

    group: str
    """Of the API; empty for Kubernetes' core."""
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Changes(msgspec.Struct, frozen=True):
    """What to write: ``first`` and ``apply`` one after the other, each at once; then ``remove`` in this order."""

    first: tuple[Doc, ...] = ()
    """What others include, and what is new: it may have a part of what others have had."""
    apply: tuple[Doc, ...] = ()
    remove: tuple[Mapping[str, Any], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.first or self.apply or self.remove)


def key_of(doc: Mapping[str, Any]) -> Key:
    """The key of an object."""
    metadata = doc["metadata"]
    group = str(doc["apiVersion"]).rpartition("/")[0]
    return Key(group, str(doc["kind"]), str(metadata.get("namespace") or ""), str(metadata["name"]))


def layer_of(key: Key) -> Layer:
    """The layer of an object."""
    return _LAYERS.get(key.kind, Layer.BENEATH)


def controlled(docs: Iterable[Doc], mesh: str) -> dict[Key, Doc]:
    """Rendered objects as the controller applies them, by key."""
    found = {}
    for doc in docs:
        metadata = doc["metadata"]
        annotations = {name: text for name, text in metadata.get("annotations", {}).items() if name != ANNOTATION}
        labels = {**metadata.get("labels", {}), LABEL: mesh}
        found[key_of(doc)] = _digested({**doc, "metadata": {**metadata, "labels": labels, "annotations": annotations}})
    return found


def serving_both(
    both: Mapping[Key, Doc], later: Mapping[Key, Doc], live: Mapping[Key, Mapping[str, Any]]
) -> dict[Key, Doc]:
    """The objects of a transition (``both``), with what requests may still need of those that are there, and with what
    the ``later`` objects need beneath them: names of subsets depend on which policies share a host.
    """
    found = {**later, **both}
    for others in (later, live):
        for key, doc in found.items():
            if (add := _ADDS.get(key.kind)) and key in others:
                spec = add(doc["spec"], others[key].get("spec") or {})
                if spec != doc["spec"]:
                    annotations = {k: v for k, v in doc["metadata"]["annotations"].items() if k != APPLIED}
                    found[key] = _digested(
                        {**doc, "metadata": {**doc["metadata"], "annotations": annotations}, "spec": spec}
                    )
    return found


def _with_subsets(spec: Doc, other: Mapping[str, Any]) -> Doc:
    subsets = spec.get("subsets", [])
    names = {subset["name"] for subset in subsets}
    more = [subset for subset in other.get("subsets") or () if subset["name"] not in names]
    return {**spec, "subsets": [*subsets, *more]} if more else spec


def _with_endpoints(spec: Doc, other: Mapping[str, Any]) -> Doc:
    """Of a subset that has endpoints only the new ones: the others may have gone."""
    served = [endpoint["labels"] for endpoint in spec["endpoints"]]
    more = [endpoint for endpoint in other.get("endpoints") or () if endpoint.get("labels") not in served]
    if not more:
        return spec
    resolution = "DNS" if "DNS" in (spec["resolution"], other.get("resolution")) else spec["resolution"]
    return {**spec, "resolution": resolution, "endpoints": [*spec["endpoints"], *more]}


def _with_routes(spec: Doc, other: Mapping[str, Any]) -> Doc:
    """The routes that are not wanted, each where the order of models has its place: a more exact one comes first."""
    routes = list(spec["http"])
    names = {route.get("name") for route in routes}
    for kept in other.get("http") or ():
        if kept.get("name") not in names and _chooses_target(kept):
            place = _specificity(kept)
            after = (
                at
                for at, route in enumerate(routes)
                if _specificity(route) > place or (_specificity(route) == place and not _chooses_target(route))
            )
            routes.insert(next(after, len(routes)), kept)
    return {**spec, "http": routes} if len(routes) > len(spec["http"]) else spec


def _chooses_target(route: Mapping[str, Any]) -> bool:
    """Whether it is for requests for which a version or a pool was decided."""
    return any({MODEL_VERSION, GPU_POOL} & match.get("headers", {}).keys() for match in route.get("match") or ())


def _specificity(route: Mapping[str, Any]) -> tuple[int, int]:
    """Sorts routes as their models are tried: exact names, then patterns, the longest first, then everything."""
    matches: Sequence[Mapping[str, Any]] = route.get("match") or ({},)
    models = [match.get("headers", {}).get(MODEL_NAME, {}) for match in matches]
    if all("exact" in model for model in models):
        return 0, 0
    longest = max(len(model.get("regex", "")) for model in models)
    return (1, -longest) if longest else (2, 0)


_ADDS = {"DestinationRule": _with_subsets, "ServiceEntry": _with_endpoints, "VirtualService": _with_routes}


def changes(
    wanted: Mapping[Key, Doc],
    live: Mapping[Key, Mapping[str, Any]],
    layers: Sequence[Layer],
    *,
    remove: bool,
    leave: Set[Key] = frozenset(),
) -> Changes:
    """What makes the objects of ``layers`` as they are wanted. ``live``: those with our label; ``remove``: what is not
    wanted goes; ``leave``: what is not to be applied. Nothing where all is as it should be.
    """
    mine = [(key, doc) for key, doc in wanted.items() if layer_of(key) in layers and key not in leave]
    first: list[Doc] = []
    others: list[Doc] = []
    for key, doc in mine:
        if not _is_applied(doc, live.get(key)):
            comes_first = not _includes_others(doc) and (key not in live or _is_included(doc))
            (first if comes_first else others).append(doc)
    gone = [key for key in live if key not in wanted and layer_of(key) in layers] if remove else []
    for docs in (first, others):
        docs.sort(key=lambda doc: layer_of(key_of(doc)))  # stable: a renderer's own order stays
    gone.sort(key=lambda key: (-layer_of(key), key))
    return Changes(tuple(first), tuple(others), tuple(live[key] for key in gone))


def _is_included(doc: Doc) -> bool:
    return doc["kind"] == "VirtualService" and "hosts" not in doc["spec"]


def _includes_others(doc: Doc) -> bool:
    return doc["kind"] == "VirtualService" and any("delegate" in route for route in doc["spec"]["http"])


def _is_applied(doc: Doc, live: Mapping[str, Any] | None) -> bool:
    """Whether ``live`` is what was applied last and still has all of it."""
    if live is None:
        return False
    annotations = live["metadata"].get("annotations") or {}
    return annotations.get(APPLIED) == doc["metadata"]["annotations"][APPLIED] and _has(live, doc)


def _has(live: Any, wanted: Any) -> bool:
    """Whether ``live`` has all of ``wanted``. The API server adds defaults, and leaves out what is empty."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        return all(_has(live.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        there = [] if live is None else live
        return isinstance(there, list) and len(there) == len(wanted) and all(map(_has, there, wanted))
    return bool(live == wanted)


def _digested(doc: Doc) -> Doc:
    """``doc`` with its digest among its annotations, which are its own."""
    digest = hashlib.sha256(json.dumps(doc, sort_keys=True).encode()).hexdigest()[:16]
    doc["metadata"]["annotations"][APPLIED] = digest
    return doc
