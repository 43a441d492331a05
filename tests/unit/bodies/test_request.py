"""The typed request is plain data."""

from __future__ import annotations

import pytest

from extproc.bodies.request import BodyEdit, InferenceRequest, Operation


def test_what_was_asked_does_not_change() -> None:
    asked = InferenceRequest("openai", "completions", "llama")
    with pytest.raises(AttributeError):
        asked.model = "other"  # type: ignore[misc]
    assert asked == InferenceRequest("openai", "completions", "llama", None, False)
    assert Operation("oip", "infer", "iris").reader is None
    assert BodyEdit(1, 3, b"xyz").apply(b"abcd") == b"axyzd"
