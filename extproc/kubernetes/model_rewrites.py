"""InferenceModelRewrites of one InferencePool as rules, each of which a policy can carry out. Pure.

Source: InferenceModelRewrite v1alpha2, "Precedence and Conflict Resolution": an exact match goes before a rule without
matches; of several the oldest object counts, and within one object the first rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from extproc.kubernetes.api import Object

Tell: TypeAlias = Callable[[Object, str, str, str], None]
"""``tell(object, path, message, remedy)``: something is wrong."""
_LONGEST = 60
"""Characters of a version's name, without the number that makes it unique."""


class RewriteTarget(msgspec.Struct, frozen=True):
    """A model that gets a share of the requests."""

    version: str
    model: str
    weight: int


class Rule(msgspec.Struct, frozen=True):
    """Models, and what they become."""

    rewrite: Object
    """The object that says it."""
    name: str
    """Of the policy that carries it out: the object's, with a number behind it from the second rule on."""
    models: tuple[str, ...]
    """Empty: whatever has no rule of its own."""
    targets: tuple[RewriteTarget, ...]
    """Empty: the model stays as it is."""


def rules_of(rewrites: Sequence[Object], tell: Tell) -> tuple[list[Rule], Rule | None]:
    """The rules for models that they name, and that for all others. ``rewrites``: the oldest first."""
    exact: list[Rule] = []
    generic: Rule | None = None
    ruled: set[str] = set()
    for rewrite, number, rule in _listed(rewrites):
        own = str(rewrite["metadata"]["name"])
        name, targets = own if number == 0 else f"{own}-{number + 1}", _targets(rule.get("targets") or ())
        if not (rule.get("matches") or ()):
            generic = generic or Rule(rewrite, name, (), targets)
            continue
        models = []
        for i, match in enumerate(rule["matches"]):
            model = str(match["model"]["value"])
            if "*" in model:
                path = f"spec.rules[{number}].matches[{i}].model.value"
                tell(rewrite, path, "counts for nothing: a * stands for anything in a policy", "name the model exactly")
            elif model not in ruled:
                ruled.add(model)
                models.append(model)
        if models:
            exact.append(Rule(rewrite, name, tuple(models), targets))
    return exact, generic


def _listed(rewrites: Iterable[Object]) -> Iterator[tuple[Object, int, dict[str, Any]]]:
    for rewrite in rewrites:
        for number, rule in enumerate(rewrite["spec"].get("rules") or ()):
            yield rewrite, number, rule


def _targets(targets: Iterable[dict[str, Any]]) -> tuple[RewriteTarget, ...]:
    found: dict[str, RewriteTarget] = {}
    for target in targets:
        model = str(target["modelRewrite"])
        name = plain = re.sub(r"[^A-Za-z0-9._-]", "-", model).strip("._-")[:_LONGEST].rstrip("._-") or "target"
        number = 1
        while name in found:
            number += 1
            name = f"{plain}-{number}"
        found[name] = RewriteTarget(name, model, int(target.get("weight") or 1))
    return tuple(found.values())
