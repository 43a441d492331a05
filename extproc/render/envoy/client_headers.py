"""Routing headers that a client sends: removed before a route is chosen."""

from __future__ import annotations

from extproc import headers
from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import typed


def removed_headers(snapshot: Snapshot) -> list[str]:
    """Names of the routing headers that are never a client's. A version pin is, where some policy allows pins."""
    pin = any(policy.allow_pin for policy in snapshot.policies)
    return [name for name in headers.DROPPED if not (pin and name == headers.MODEL_VERSION)]


def strip_client_headers(snapshot: Snapshot, *prefixes: str) -> Doc:
    """Removes routing headers that a client sends, before the first route is chosen: also while no processor answers.

    A version pin stays where some policy allows pins; the processor reads or removes it. ``prefixes``: more headers to
    remove, such as ``x-envoy-``, by which clients could set Envoy's retries and timeouts.
    """
    return typed(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            *({"remove": name} for name in removed_headers(snapshot)),
            *({"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in prefixes),
        ],
    )
