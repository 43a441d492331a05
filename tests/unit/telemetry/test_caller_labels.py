"""Labels of callers: bounded, and never what a certificate says where that could break a reader."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.telemetry.caller_labels import MAX_CALLERS, CallerLabels


def test_the_first_ones_have_names_and_keep_them() -> None:
    labels = CallerLabels()
    names = [f"caller-{n}" for n in range(MAX_CALLERS + 5)]
    found = [labels.label(name) for name in names]
    assert found == [*names[:MAX_CALLERS], *["other"] * 5]
    assert [labels.label(name) for name in names] == found
    assert labels.label("") == "unknown"


@given(st.lists(st.text(max_size=20)))
def test_any_name_is_visible_ascii(names: list[str]) -> None:
    labels = CallerLabels()
    found = {labels.label(name) for name in names}
    assert all(label.isascii() and label.isprintable() and " " not in label for label in found)
    assert len(found) <= MAX_CALLERS + 2
