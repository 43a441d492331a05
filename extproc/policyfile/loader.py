"""Policy files to a ``Snapshot``, or to every problem in them.

``yamldoc`` reads YAML with positions, ``fields`` and ``values`` read typed values from it, ``kinds`` builds documents
from these, and ``cross_checks`` checks the documents against each other. Only ``read`` touches files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from extproc import yamldoc
from extproc.errors import PolicyProblems, Problem
from extproc.policy.rollout_plan import RolloutState
from extproc.policy.snapshot import GpuPool, Policy, Snapshot
from extproc.policyfile import cross_checks, kinds, rollout, weights_from
from extproc.policyfile.kinds import Document
from extproc.policyfile.rollout_files import RolloutFiles, decode_states
from extproc.regular_file import read_regular
from extproc.rollout.steps import in_force

MAX_SIZE = 4 << 20
"""Most bytes of one file."""


class PolicyTexts(msgspec.Struct, frozen=True):
    """Contents of policy files. Equal ones give equal policies."""

    texts: tuple[tuple[str, str], ...] = ()
    """(name, content) in the order in which they are read."""
    problems: tuple[Problem, ...] = ()
    """Files that can't be read."""
    rollouts: tuple[str, str] = ("", "")
    """(name, content) of the file that says how far rollouts have come; no content: none has begun."""


class LoadedPolicies(msgspec.Struct, frozen=True):
    """The result of a load without errors."""

    snapshot: Snapshot
    warnings: tuple[Problem, ...] = ()


def load(
    paths: Sequence[Path], generation: int = 1, locality: str = "", session_keys: tuple[bytes, ...] = ()
) -> LoadedPolicies:
    """The policies in files and directories, for a proxy at ``locality``. Raises ``PolicyProblems`` with all errors and
    warnings.
    """
    return build(read(paths), generation, locality, session_keys)


def read(paths: Sequence[Path], *, watched: bool = False) -> PolicyTexts:
    """The files at ``paths``; of a directory its ``*.yaml`` and ``*.yml`` by name, not those of its subdirectories.

    Raises nothing for unreadable files, which are in ``problems``. ``watched``: the paths will be read repeatedly, so
    that anything but a regular file is a problem, and no read blocks; else pipes (``-f <(helm template …)``) are read
    as well.
    """
    texts: dict[str, tuple[str, str]] = {}
    problems: list[Problem] = []
    for path in paths:
        for file in _files(path, problems):
            key = os.path.realpath(file)
            if key not in texts and (text := _text(file, problems, watched=watched)) is not None:
                texts[key] = (str(file), text)
    rollouts = _rollouts(paths, problems) if paths else ("", "")
    return PolicyTexts(tuple(texts.values()), tuple(problems), rollouts)


def build(
    files: PolicyTexts, generation: int = 1, locality: str = "", session_keys: tuple[bytes, ...] = ()
) -> LoadedPolicies:
    """The policies in ``files``, for a proxy at ``locality``. Pure. Raises ``PolicyProblems`` with all errors and
    warnings.
    """
    problems = list(files.problems)
    by_document: list[list[Problem]] = []
    policies, pools = _documents(files, by_document)
    cross_checks.check(policies, pools)
    states = _states(*files.rollouts, problems)
    for document in policies:
        rollout.check_completed(document.field.at("spec"), document.value, states.get(document.value.name))
        weights_from.check_unfollowed(document.field.at("spec"), document.value)
    order = {name: i for i, (name, _) in enumerate(files.texts)}
    in_documents = [problem for of_document in by_document for problem in of_document]
    problems += sorted(in_documents, key=lambda p: (order[p.file], p.line, p.column))
    if not policies and all(problem.warning for problem in problems):
        where = ", ".join(order) or "no file was given"
        problems.append(
            _file_problem(where, "no ModelInferencePolicy is declared", "declare one: docs/policy.md shows how")
        )
    if not all(problem.warning for problem in problems):
        raise PolicyProblems(problems)
    problems += cross_checks.check_locality(locality, [document.value for document in pools])
    served = tuple(in_force(d.value, states.get(d.value.name)) for d in policies)
    snapshot = Snapshot(served, tuple(d.value for d in pools), generation, locality, session_keys)
    return LoadedPolicies(snapshot, tuple(problems))


def documents(files: PolicyTexts) -> tuple[list[Document[Policy]], list[Document[GpuPool]]]:
    """The policies and pools in ``files``, each with its own problems, not checked against each other. Pure."""
    return _documents(files, [])


def _documents(
    files: PolicyTexts, by_document: list[list[Problem]]
) -> tuple[list[Document[Policy]], list[Document[GpuPool]]]:
    """Adds to ``by_document`` the problems of each document and file."""
    policies: list[Document[Policy]] = []
    pools: list[Document[GpuPool]] = []
    for name, text in files.texts:
        roots, problems_of_file = yamldoc.read(name, text)
        by_document.append(problems_of_file)
        if not roots and not problems_of_file:
            problems_of_file.append(
                _file_problem(name, "holds no document", "write a policy into it, or remove it", warning=True)
            )
        for root in roots:
            problems_of_document: list[Problem] = []
            by_document.append(problems_of_document)
            match kinds.read(name, problems_of_document, root):
                case Document(value=Policy()) as policy:
                    policies.append(policy)
                case Document(value=GpuPool()) as pool:
                    pools.append(pool)
    return policies, pools


def _file_problem(name: str, message: str, remedy: str, *, warning: bool = False) -> Problem:
    return Problem(name, 0, 0, "", message, remedy, warning)


def _rollouts(paths: Sequence[Path], problems: list[Problem]) -> tuple[str, str]:
    files = RolloutFiles(paths)
    try:
        return str(files.state), files.read_text()
    except OSError as error:
        problems.append(_unreadable(files.state, error))
        return "", ""


def _states(name: str, text: str, problems: list[Problem]) -> dict[str, RolloutState]:
    try:
        return {state.policy: state for state in decode_states(text)}
    except ValueError as error:
        remedy = "restore it, or remove it: rollouts then begin anew, at their first step"
        problems.append(_file_problem(name, f"does not tell how far rollouts have come: {error}", remedy))
        return {}


def _files(path: Path, problems: list[Problem]) -> list[Path]:
    """Hidden names are left out: the kubelet keeps ``..data`` and others beside the files of a ConfigMap."""
    try:
        if not path.is_dir():
            return [path]
        names = sorted(n for n in os.listdir(path) if n.endswith((".yaml", ".yml")) and not n.startswith("."))  # noqa: PTH208
        files = [path / name for name in names if not (path / name).is_dir()]
    except OSError as error:
        problems.append(_unreadable(path, error))
        return []
    if not files:
        problems.append(
            _file_problem(str(path), "no *.yaml or *.yml is in this directory", "put a policy file into it")
        )
    return files


def _text(path: Path, problems: list[Problem], *, watched: bool) -> str | None:
    try:
        if watched:
            content = read_regular(path, MAX_SIZE + 1)
        else:
            with path.open("rb") as file:
                content = file.read(MAX_SIZE + 1)
    except OSError as error:
        problems.append(_unreadable(path, error))
        return None
    if len(content) > MAX_SIZE:
        problems.append(_file_problem(str(path), f"larger than {MAX_SIZE >> 20} MiB", "split it into several files"))
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        message = f"not UTF-8: the byte 0x{content[error.start]:02x}"
        problems.append(Problem(str(path), line, column, "", message, "save the file as UTF-8"))
        return None


def _unreadable(path: Path, error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        return _file_problem(str(path), "does not exist", "check the path")
    return _file_problem(str(path), f"cannot be read: {error.strerror}", "check the path and its permissions")
