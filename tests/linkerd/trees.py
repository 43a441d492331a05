"""Trees of any shape with words of Kubernetes' in them."""

from __future__ import annotations

from hypothesis import strategies as st

TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 70000)
    | st.sampled_from(["", "Service", "HTTPRoute", "chat", "ai", "v1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "apiVersion", "metadata", "spec", "name", "rules", "parentRefs", "port", "items"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
