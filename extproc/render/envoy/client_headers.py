"""Routing headers that a client sends: removed before a route is chosen."""

from __future__ import annotations

from extproc import headers
from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import (
    typed,
)


def strip_client_headers(snapshot: Snapshot, *prefixes: str) -> Doc:
    """Removes routing headers that a client sends, before the first route is chosen: also while no processor answers.

    A version pin stays where some policy allows pins; the processor reads or removes it. ``prefixes``: more headers to
    remove, such as ``x-envoy-``, by which clients could set Envoy's retries and timeouts.
    """
    pin = any(policy.allow_pin for policy in snapshot.policies)
    names = [n for n in headers.ROUTING if not (pin and n == headers.MODEL_VERSION)]
    return typed(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            *({"remove": name} for name in names),
            *({"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in prefixes),
        ],
    )
