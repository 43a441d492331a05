"""Sessions: Envoy appends the tag of the server to ids of sessions in answers, and removes it from them in requests.

What a request of a session needs is in its id, so that any processor can decide it. Tags go the way of the id without
a processor, too: a model server never sees one in ``mcp-session-id``. Without a key there are no tags.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.apis.mcp import SESSION_HEADER
from extproc.policy.session_tag import CALL, MCP, SEPARATOR, TAG, session_tag
from extproc.policy.target import Target
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import NAMESPACE, skipped_where, typed

_KEY = "session"
_ID = f"{NAMESPACE}.session"
"""Namespace of dynamic metadata that holds the id without its tag; and that of an endpoint's metadata with its tags by
the kind of session.
"""
_CALLS = r"(/openai)?/v1/realtime/calls"
"""Where Realtime calls are made: the answer has the call's path in ``location``."""


def session_metadata(keys: Sequence[bytes], target: Target, endpoint: str) -> Doc:
    """Metadata of an endpoint: its tags, made with the first key."""
    return {_ID: {kind: session_tag(keys[0], kind, target, endpoint) for kind in (MCP, CALL)}} if keys else {}


def session_filters() -> list[Doc]:
    """The filters, for behind ``aimesh.route``, which reads the tags.

    Several headers of one name come as one, with commas: each may end with a tag, or with several.
    """
    rewriting = {"pattern": {"regex": f"({SEPARATOR}{TAG})+(,|$)"}, "substitution": r"\2"}
    cleaned = {"metadata_namespace": _ID, "key": _KEY, "regex_value_rewrite": rewriting}
    return [
        typed(
            "aimesh.session_id",
            "extensions.filters.http.header_to_metadata.v3.Config",
            request_rules=[{"header": SESSION_HEADER, "on_header_present": cleaned}],
        ),
        _mutation(
            "aimesh.session",
            request_mutations=[_replaced(SESSION_HEADER, f"%DYNAMIC_METADATA({_ID}:{_KEY})%")],
            response_mutations=[_tagged(SESSION_HEADER, MCP)],
        ),
        skipped_where(_is_no_call(), _mutation("aimesh.call", response_mutations=[_tagged("location", CALL)])),
    ]


def _mutation(name: str, **mutations: list[Doc]) -> Doc:
    return typed(name, "extensions.filters.http.header_mutation.v3.HeaderMutation", mutations=mutations)


def _tagged(header: str, kind: str) -> Doc:
    return _replaced(header, f"%RESP({header})%{SEPARATOR}%UPSTREAM_METADATA({_ID}:{kind})%")


def _replaced(header: str, value: str) -> Doc:
    return {"append": {"header": {"key": header, "value": value}, "append_action": "OVERWRITE_IF_EXISTS"}}


def _is_no_call() -> Doc:
    path = typed("path", "type.matcher.v3.HttpRequestHeaderMatchInput", header_name=":path")
    regex = {"google_re2": {}, "regex": rf"{_CALLS}([?].*)?"}
    return {"not_matcher": {"single_predicate": {"input": path, "value_match": {"safe_regex": regex}}}}
