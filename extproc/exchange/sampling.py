"""Which answers are observed where a policy has a share of them read (``observability.sampling``).

It is decided with the version, and told in the dynamic metadata: Envoy opens no stream to the observer for the others
(``render.envoy.filters``), or the observer leaves them when it has their status.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.envoy.actions import Mutation

OBSERVE = "observe"
"""Key of the metadata; there only where the policy's share is less than 1."""
LEFT_OUT, SAMPLED = "0", "1"

_DRAW_BYTES = 6
"""Of the entropy: a float holds as many bits exactly."""


def with_sampling(mutation: Mutation, share: float, entropy: bytes) -> Mutation:
    """The mutation, with what was drawn for the request. ``entropy``: its random bytes."""
    drawn = int.from_bytes(entropy[:_DRAW_BYTES]) / (1 << 8 * _DRAW_BYTES)
    value = SAMPLED if drawn < share else LEFT_OUT
    return msgspec.structs.replace(mutation, metadata=(*mutation.metadata, (OBSERVE, value)))


def is_left_out(metadata: Mapping[str, str], share: float, drawn: float) -> bool:
    """Whether an answer is not read. ``drawn``: a random number from 0 to 1, for requests of which ``aimesh.route`` has
    said nothing, since it runs elsewhere.
    """
    decided = metadata.get(OBSERVE)
    return drawn >= share if decided is None else decided == LEFT_OUT
