"""``loadBalancer`` of a policy, a version or a pool: a word, or ``{consistentHash: {header: x-user-id}}``."""

from __future__ import annotations

from extproc.policy.load_balancer import CONSISTENT_HASH, WORDS, LoadBalancer
from extproc.policyfile import values
from extproc.policyfile.fields import Field
from extproc.yamldoc import Mapping, Scalar

_REMEDY = f"write {CONSISTENT_HASH}: {{header: x-user-id}}, or one word: {', '.join(WORDS)}"

_BY_WORD: dict[str, LoadBalancer] = {word: LoadBalancer(word) for word in WORDS}


def read(field: Field) -> LoadBalancer | None:
    """What the field says."""
    if isinstance(field.node, Mapping):
        fields = field.fields(CONSISTENT_HASH)
        return fields.required(CONSISTENT_HASH, _consistent_hash, _REMEDY) if fields else None
    if isinstance(field.node, Scalar) and field.node.text == CONSISTENT_HASH:
        field.error("does not say of what", _REMEDY)
        return None
    return _BY_WORD.get(field.choice(*WORDS) or "")


def _consistent_hash(field: Field) -> LoadBalancer | None:
    fields = field.fields("header")
    header = fields.required("header", values.header_name, "give the header: header: x-user-id") if fields else None
    return LoadBalancer(CONSISTENT_HASH, header) if header else None
