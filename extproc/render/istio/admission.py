"""Who is refused is not shown to the observer.

An answer of Envoy's own, such as 401 or 403, passes every filter on its way back, also those that the request never
reached. So one filter writes down that a request came this far, behind all authentication, and a matcher skips the
other where nothing is written: not even a stream is opened. What the matcher looks at is a filter state, since Istio's
build of Envoy has that and no other input that can tell (no dynamic metadata, no CEL).
"""

from __future__ import annotations

from extproc.render.envoy.envoy_options import NAMESPACE, Doc, typed

ADMITTED_FILTER = f"{NAMESPACE}.admitted"
"""Of the filter, and of the state that it writes."""
MARKING = "extensions.filters.http.set_filter_state.v3.Config"

_MARK = "yes"


def admitted_filter() -> Doc:
    """Writes down that the request came this far."""
    text = {"text_format_source": {"inline_string": _MARK}}
    mark = {"object_key": ADMITTED_FILTER, "factory_key": "envoy.string", "format_string": text}
    return typed(ADMITTED_FILTER, MARKING, on_request_headers=[mark])


def if_admitted(inner: Doc) -> Doc:
    """The filter ``inner``, skipped for requests that did not come as far as ``admitted_filter``."""
    state = typed(ADMITTED_FILTER, "extensions.matching.common_inputs.network.v3.FilterStateInput", key=ADMITTED_FILTER)
    skip = typed("skip", "extensions.filters.common.matcher.action.v3.SkipFilter")
    stranger = {"not_matcher": {"single_predicate": {"input": state, "value_match": {"exact": _MARK}}}}
    return typed(
        inner["name"],
        "extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config=inner,
        xds_matcher={"matcher_list": {"matchers": [{"predicate": stranger, "on_match": {"action": skip}}]}},
    )
