"""What Envoy itself has read of a body, where it is rendered to (``--body native``).

Envoy's filter ``json_to_metadata`` then stands in front of ours and leaves the model's name in the dynamic metadata;
the body stays in Envoy. We still request it where the name alone does not suffice.
"""

from __future__ import annotations

from extproc.bodies.json_reader import MAX_MODEL_LENGTH, JsonReader
from extproc.bodies.request import Operation
from extproc.envoy.events import RequestHeaders
from extproc.policy.picking import PREFIX
from extproc.policy.snapshot import Snapshot

BODY_MODEL = "body_model"
"""The key, within the namespace ``aimesh``, under which ``json_to_metadata`` writes the body's ``model``."""


def with_native_model(operation: Operation, event: RequestHeaders, snapshot: Snapshot) -> Operation:
    """``operation`` with the model that Envoy has read; as it was where Envoy read none, or the body is needed still.

    It is where the policy keys its canary on the body, picks endpoints by the prompt or renames the model, where no
    length tells that the body is within the policy's limit, and for APIs that name their model elsewhere than in
    ``model``.
    """
    model = event.metadata.get(BODY_MODEL, "")
    reader = operation.reader
    if not 0 < len(model) <= MAX_MODEL_LENGTH or not isinstance(reader, JsonReader) or not reader.names_model:
        return operation
    match = snapshot.match(model)
    if match is not None:
        policy = match.policy
        length = event.headers.text("content-length")
        within = length.isdecimal() and len(length) < 19 and int(length) <= policy.body_limit
        prompt = policy.picking is not None and policy.picking.by == PREFIX
        if not within or prompt or policy.rewrites_model or (policy.sticky and policy.sticky.body):
            return operation
    return operation.naming(model)
