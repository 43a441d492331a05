"""What ``aimesh.observe`` is not to see: what authentication has refused, and what is left out of a sample.

A local reply such as 401 or 403 passes the response path of every filter, also of those that the request never
reached. So a filter behind all authentication sets a filter state; another, behind ``aimesh.route``, sets one to what
was drawn for the request (``exchange.sampling``); and a matcher skips ``aimesh.observe`` by the two: no stream to the
processor is opened. They are filter states because Istio's build of Envoy has no other matcher input that a filter can
set (neither dynamic metadata nor CEL).
"""

from __future__ import annotations

from extproc.exchange.sampling import LEFT_OUT, OBSERVE
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import NAMESPACE, skipped_where, typed

ADMITTED_FILTER = f"{NAMESPACE}.admitted"
SAMPLED_FILTER = f"{NAMESPACE}.sampled"
"""Names of the filters, and keys of the filter states that they set."""
MARKING = "extensions.filters.http.set_filter_state.v3.Config"

_MARK = "yes"


def admitted_filter() -> Doc:
    """Sets the filter state that marks a request as admitted."""
    return _marking(ADMITTED_FILTER, _MARK)


def sampled_filter() -> Doc:
    """Sets the filter state that tells whether the answer is left out."""
    return _marking(SAMPLED_FILTER, f"%DYNAMIC_METADATA({NAMESPACE}:{OBSERVE})%")


def if_admitted(inner: Doc) -> Doc:
    """The filter ``inner``, skipped for requests that did not reach ``admitted_filter``."""
    return skipped_where(_not_admitted(), inner)


def if_admitted_and_sampled(inner: Doc) -> Doc:
    """The filter ``inner``, skipped for those and for requests whose answers are left out."""
    either = [_not_admitted(), _state(SAMPLED_FILTER, LEFT_OUT)]
    return skipped_where({"or_matcher": {"predicate": either}}, inner)


def _marking(name: str, text: str) -> Doc:
    source = {"text_format_source": {"inline_string": text}}
    return typed(
        name,
        MARKING,
        on_request_headers=[{"object_key": name, "factory_key": "envoy.string", "format_string": source}],
    )


def _not_admitted() -> Doc:
    return {"not_matcher": _state(ADMITTED_FILTER, _MARK)}


def _state(key: str, value: str) -> Doc:
    state = typed(key, "extensions.matching.common_inputs.network.v3.FilterStateInput", key=key)
    return {"single_predicate": {"input": state, "value_match": {"exact": value}}}
