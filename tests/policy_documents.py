"""Policy files for tests: documents around a spec, their snapshot, and their problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import dedent, indent

from extproc import yamldoc
from extproc.errors import PolicyProblems, Problem
from extproc.policy.snapshot import GpuPool, Policy, Snapshot
from extproc.policyfile import loader
from extproc.policyfile.fields import Field

SPEC_LINE = 5
"""Line in the document of the first line of the spec given to `policy` or `pool`."""


def policy(spec: str = "{}", name: str = "chat") -> str:
    return _document("ModelInferencePolicy", name, spec)


def pool(spec: str = "product: NVIDIA-A100-SXM4-80GB", name: str = "a100-west") -> str:
    return _document("GpuPool", name, spec)


def _document(kind: str, name: str, spec: str) -> str:
    head = f"apiVersion: ai.istio.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n"
    return head + indent(dedent(spec).strip("\n"), "  ") + "\n"


def file(*documents: str) -> str:
    return "---\n".join(documents)


def load_texts(texts: Sequence[tuple[str, str]]) -> loader.LoadedPolicies:
    """The policies in pairs of (file name, content). Raises ``PolicyProblems``."""
    return loader.build(loader.PolicyTexts(tuple(texts)))


def found(*texts: str) -> list[Problem]:
    """Every problem and warning in files called 0.yaml, 1.yaml and so on."""
    try:
        return list(load_texts([(f"{i}.yaml", text) for i, text in enumerate(texts)]).warnings)
    except PolicyProblems as problems:
        return list(problems.problems)


def snapshot_of(*documents: str) -> Snapshot:
    """The snapshot of documents without problems, not even a warning."""
    loaded = load_texts([("policy.yaml", file(*documents))])
    assert loaded.warnings == ()
    return loaded.snapshot


def policy_of(spec: str) -> Policy:
    (only,) = snapshot_of(policy(spec)).policies
    return only


def pool_of(spec: str) -> GpuPool:
    """A pool that a policy uses."""
    (only,) = snapshot_of(policy("gpuRequirements: {}"), pool(spec)).pools
    return only


def said(problem: Problem) -> str:
    """A problem in short: ``line path: message; remedy``, with a word before it where it is a warning."""
    severity = "warning " if problem.warning else ""
    return f"{severity}{problem.line} {problem.path}: {problem.message}; {problem.remedy}"


def read_value(text: str, read: Callable[[Field], object]) -> tuple[object, list[str]]:
    """What a reader makes of a value, and its problems with their remedies."""
    (root,), syntax = yamldoc.read("f.yaml", f"v: {text}\n")
    assert syntax == []
    field = Field("f.yaml", [], root).at("v")
    return read(field), [f"{p.message}; {p.remedy}" for p in field.problems]
