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
from extproc.policyfile.values import MAX_MODEL_LENGTH

Tell: TypeAlias = Callable[[Object, str, str, str], None]
"""``tell(object, path, message, remedy)``: something is wrong."""
MAX_RULES = 64
"""Of an object: each may become a policy, with all endpoints of the pool."""
MAX_TARGETS = 64
"""Of a rule: a policy has no more versions."""
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
        own, where = str(rewrite["metadata"]["name"]), f"spec.rules[{number}]"
        if number >= MAX_RULES or len(rule.get("targets") or ()) > MAX_TARGETS:
            remedy = f"give an object at most {MAX_RULES} rules, and a rule at most {MAX_TARGETS} targets"
            tell(rewrite, where, "counts for nothing: there are too many, or it has too many targets", remedy)
            continue
        wanted = [str(target["modelRewrite"]) for target in rule.get("targets") or ()]
        asked = [str(match["model"]["value"]) for match in rule.get("matches") or ()]
        if not all(map(_is_name, (*wanted, *asked))):
            remedy = f"name models by at most {MAX_MODEL_LENGTH} printable characters without *, no space around them"
            tell(rewrite, where, "counts for nothing: a policy can't have such a model's name", remedy)
            continue
        name, targets = own if number == 0 else f"{own}-{number + 1}", _targets(rule.get("targets") or ())
        models = tuple(model for model in dict.fromkeys(asked) if model not in ruled)
        ruled.update(models)
        if models:
            exact.append(Rule(rewrite, name, models, targets))
        elif not asked:
            generic = generic or Rule(rewrite, name, (), targets)
    return exact, generic


def _is_name(model: str) -> bool:
    """Whether a policy takes it for the name of one model."""
    right = model.isprintable() and model == model.strip() and "*" not in model
    return right and 0 < len(model) <= MAX_MODEL_LENGTH


def _listed(rewrites: Iterable[Object]) -> Iterator[tuple[Object, int, dict[str, Any]]]:
    for rewrite in rewrites:
        for number, rule in enumerate((rewrite["spec"].get("rules") or ())[: MAX_RULES + 1]):
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
        found[name] = RewriteTarget(name, model, target.get("weight") or 1)
    return tuple(found.values())
