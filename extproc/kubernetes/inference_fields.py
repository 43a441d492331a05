"""The fields that are read of InferencePools and of what refers to them, held against what is there. Pure.

The CRDs of the inference extension let objects without a ``spec`` pass, and other versions of them other fields: such
an object counts for nothing, and the others go on.
"""

from __future__ import annotations

import msgspec

from extproc.kubernetes.api import Object


class _Ref(msgspec.Struct):
    name: str
    group: str | None = None
    kind: str | None = None


class _Selector(msgspec.Struct):
    match_labels: dict[str, str] = msgspec.field(name="matchLabels")


class _Port(msgspec.Struct):
    number: int


class _Pool(msgspec.Struct):
    selector: _Selector
    target_ports: list[_Port] = msgspec.field(name="targetPorts")
    picker: _Ref | None = msgspec.field(name="endpointPickerRef", default=None)


class _Objective(msgspec.Struct):
    pool: _Ref = msgspec.field(name="poolRef")
    priority: int | None = None


class _Model(msgspec.Struct):
    value: str


class _Match(msgspec.Struct):
    model: _Model


class _Target(msgspec.Struct):
    model: str = msgspec.field(name="modelRewrite")
    weight: int | None = None


class _Rule(msgspec.Struct):
    matches: list[_Match] | None = None
    targets: list[_Target] | None = None


class _Rewrite(msgspec.Struct):
    pool: _Ref = msgspec.field(name="poolRef")
    rules: list[_Rule] | None = None


_SPECS = {"InferencePool": _Pool, "InferenceObjective": _Objective, "InferenceModelRewrite": _Rewrite}


def flaw_of(one: Object) -> str:
    """Why an object of one of these kinds can't be read; empty: it can."""
    try:
        msgspec.convert(one.get("spec"), _SPECS[one["kind"]])
    except msgspec.ValidationError as error:
        return str(error).replace("`$", "`spec")
    return ""
