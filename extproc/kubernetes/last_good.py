"""Objects to the snapshot that serves: of each as it is now, or, where that is no good, as it last was. Pure.

One bad object hurts nobody else. In turn:

- An object that is wrong by itself, or has lost a conflict (``conflicts``), goes on with its last good spec, if it had
  one and that one is free.
- A policy in force whose pool has been deleted, or no longer meets what the policy requires, keeps that pool as it was.
- What nothing helps is left out.

Policy files are read beside objects as if they were older than all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from extproc.errors import Problem
from extproc.kubernetes.api import POLICIES, POOLS
from extproc.kubernetes.conflicts import Candidate, Contender, decide
from extproc.kubernetes.object_documents import Key, ReadObject
from extproc.policy.snapshot import GpuPool, Policy, Snapshot
from extproc.policyfile import cross_checks
from extproc.policyfile.fields import Field
from extproc.policyfile.kinds import Document

Documents = tuple[Sequence[Document[Policy]], Sequence[Document[GpuPool]]]


class Taken(msgspec.Struct, frozen=True):
    """What became of the objects."""

    snapshot: Snapshot
    warnings: tuple[Problem, ...]
    """About what serves."""
    problems: tuple[Problem, ...]
    """Why objects do not serve as they are now."""
    states: Mapping[str, int]
    """Objects by what became of them: ``in_force`` as they are now, ``held`` as they last were, ``left_out``."""


class LastGood:
    """The objects that serve, from one ``take`` to the next."""

    def __init__(self) -> None:
        self.serving: Mapping[Key, ReadObject] = {}

    def take(self, objects: Iterable[ReadObject], files: Documents = ((), ()), generation: int = 1) -> Taken:
        """Takes the objects that there are now. ``files``: the documents of files, without errors."""
        choice = _Choice({one.key: one for one in objects}, self.serving, files)
        while choice.improve():
            pass
        self.serving = choice.chosen
        return choice.outcome(generation)


class _Choice:
    """One spec for each object, changed until there are no errors."""

    def __init__(self, current: Mapping[Key, ReadObject], good: Mapping[Key, ReadObject], files: Documents) -> None:
        self._current, self._good, self._files = current, good, files
        self.chosen: dict[Key, ReadObject] = {}
        self._refused = {key: one.problems for key, one in current.items() if not one.right}
        """Why an object is not taken as it is now."""
        self._conflicts: dict[Key, tuple[Problem, ...]] = {}
        """Objects that lost against others, in this choice."""
        self._unusable: set[Key] = set()
        """Objects that are not taken as they last were either."""
        self._held_pools: set[Key] = set()
        self._missed: dict[Key, tuple[Problem, ...]] = {}
        """Policies in force for which pools are held, and what they would miss."""
        self._documents: list[Document[Any]] = []

    def improve(self) -> bool:
        """Chooses, and checks the choice; returns whether another one is to be tried. Each has fewer to choose from."""
        self._conflicts = {}
        pools, policies = self._choose_pools(), self._choose_policies()
        self.chosen = {one.key: one for one in (*pools, *policies)}
        of_policies = [_fresh(document) for document in (*self._files[0], *map(_document, policies))]
        of_pools = [_fresh(document) for document in (*self._files[1], *map(_document, pools))]
        cross_checks.check(of_policies, of_pools)
        self._documents = [*of_policies, *of_pools]
        checked = zip(
            (*policies, *pools), (*of_policies[len(self._files[0]) :], *of_pools[len(self._files[1]) :]), strict=True
        )
        wrong = [(one, document) for one, document in checked if not document.field.clean]
        for one, document in wrong:
            self._give_way(one, tuple(document.field.problems))
        return bool(wrong)

    def outcome(self, generation: int) -> Taken:
        """What the last choice comes to."""
        policies = tuple(d.value for d in self._documents if isinstance(d.value, Policy))
        pools = tuple(d.value for d in self._documents if isinstance(d.value, GpuPool))
        why = self._missed | self._conflicts | self._refused
        as_it_is = sum(self.chosen.get(key) is one for key, one in self._current.items())
        states = {"in_force": as_it_is, "held": len(self.chosen) - as_it_is}
        states["left_out"] = len(self._current.keys() - self.chosen.keys())
        return Taken(
            Snapshot(policies, pools, generation),
            tuple(problem for document in self._documents for problem in document.field.problems),
            tuple(problem for key in sorted(why) for problem in why[key] if not problem.warning),
            states,
        )

    def _choose_pools(self) -> list[ReadObject]:
        """The pools, oldest first; of two with one name the older."""
        keys = sorted(key for key in self._current.keys() | self._held_pools if key.kind == POOLS.kind)
        found = [one for one in map(self._pool, keys) if one is not None]
        holders = {document.value.name: document.name_field.place for document in self._files[1]}
        chosen = []
        for one in sorted(found, key=lambda one: one.created):
            if one.key.name in holders:
                message = f"the name {one.key.name} is another pool's, which is older: {holders[one.key.name]}"
                remedy = "choose another name: metrics have no namespaces"
                self._conflicts[one.key] = (Problem(str(one.key), 0, 0, "metadata.name", message, remedy),)
            else:
                holders[one.key.name] = str(one.key)
                chosen.append(one)
        return chosen

    def _pool(self, key: Key) -> ReadObject | None:
        if key in self._unusable:
            return None
        return self._good.get(key) if key in self._refused or key in self._held_pools else self._current[key]

    def _choose_policies(self) -> list[ReadObject]:
        """The policies, oldest first; what only one can have the oldest has."""
        contenders = [_contender_of_file(document) for document in self._files[0]]
        candidates: dict[tuple[str, str], list[tuple[Candidate, ReadObject]]] = {}
        keys = sorted(key for key in self._current if key.kind == POLICIES.kind)
        for key in keys:
            current, good = self._current[key], self._good.get(key)
            wanted = None if key in self._refused else _candidate(current)
            in_force = None if good is None or good is current or key in self._unusable else _candidate(good)
            contenders.append(Contender(key.namespace, key.name, current.created, wanted, in_force))
            candidates[key.namespace, key.name] = [
                (candidate, one) for candidate, one in ((wanted, current), (in_force, good)) if candidate and one
            ]
        verdicts = decide(contenders, one_port_a_host=False)
        chosen = []
        for key in keys:
            verdict = verdicts[key.namespace, key.name]
            if verdict.conflicts:
                self._conflicts[key] = verdict.conflicts
            of_key = candidates[key.namespace, key.name]
            chosen += [one for candidate, one in of_key if candidate is verdict.chosen]
        return sorted(chosen, key=lambda one: one.created)

    def _give_way(self, one: ReadObject, problems: tuple[Problem, ...]) -> None:
        """Takes back what made the object wrong in its surroundings."""
        good = self._good.get(one.key)
        if one is good and (lost := set(self._changed_pools(one))):
            self._held_pools |= lost
            self._missed[one.key] = problems
        elif good is not None and one is not good:
            self._refused[one.key] = problems
        else:
            self._refused.setdefault(one.key, problems)
            self._unusable.add(one.key)

    def _changed_pools(self, one: ReadObject) -> Iterator[Key]:
        """Pools that a policy names and that are not as they last were."""
        policy = _document(one).value
        named = {name for version in policy.versions for name in version.gpu_pools or ()}
        for key, good in self._good.items():
            if key.kind == POOLS.kind and key.name in named and key not in self._held_pools | self._unusable:
                now = self.chosen.get(key)
                if now is None or now.spec != good.spec:
                    yield key


def _document(one: ReadObject) -> Document[Any]:
    """The document of an object that is right by itself."""
    return cast("Document[Any]", one.document)


def _fresh(document: Document[Any]) -> Document[Any]:
    """The document with a list of problems of its own, to which checks may add."""
    field = document.field
    return Document(Field(field.file, list(field.problems), field.node, field.path), document.value)


def _candidate(one: ReadObject) -> Candidate:
    return Candidate(_document(one).value, one.spec)


def _contender_of_file(document: Document[Policy]) -> Contender:
    """Older than any object. Of its spec, ``decide`` asks only what is in it."""
    spec = {name: None for name in ("models", "onUnreadable") if document.field.at("spec").has(name)}
    return Contender(document.field.file, document.value.name, "", Candidate(document.value, spec))
