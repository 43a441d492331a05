"""Keeps requests that authentication has refused from ``aimesh.observe``.

A local reply such as 401 or 403 passes the response path of every filter, also of those that the request never
reached. So a filter behind all authentication sets a filter state, and a matcher skips ``aimesh.observe`` where it is
not set: no stream to the processor is opened. It is a filter state because Istio's build of Envoy has no other matcher
input that a filter can set (neither dynamic metadata nor CEL).
"""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import NAMESPACE, skipped_where, typed

ADMITTED_FILTER = f"{NAMESPACE}.admitted"
"""Name of the filter and key of the filter state that it sets."""
MARKING = "extensions.filters.http.set_filter_state.v3.Config"

_MARK = "yes"


def admitted_filter() -> Doc:
    """Sets the filter state that marks a request as admitted."""
    text = {"text_format_source": {"inline_string": _MARK}}
    mark = {"object_key": ADMITTED_FILTER, "factory_key": "envoy.string", "format_string": text}
    return typed(ADMITTED_FILTER, MARKING, on_request_headers=[mark])


def if_admitted(inner: Doc) -> Doc:
    """The filter ``inner``, skipped for requests that did not reach ``admitted_filter``."""
    state = typed(ADMITTED_FILTER, "extensions.matching.common_inputs.network.v3.FilterStateInput", key=ADMITTED_FILTER)
    not_admitted = {"not_matcher": {"single_predicate": {"input": state, "value_match": {"exact": _MARK}}}}
    return skipped_where(not_admitted, inner)
