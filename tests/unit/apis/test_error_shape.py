"""Documents of errors are filled where they have places, and nowhere else."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from extproc.apis.error_shape import CODE, KIND, MESSAGE, REASON, STATUS, TEXT, ErrorShape

ALL = ErrorShape(
    document={"a": [MESSAGE, {"b": CODE}], "c": {"d": REASON, "e": STATUS, "f": KIND}, "g": "text", "h": None, "i": 7},
    kinds={400: "bad", 404: "missing", 500: 5},
    header="x-kind",
)


def test_every_place_is_filled() -> None:
    expected = {
        "a": ["what", {"b": "a_code"}],
        "c": {"d": "A_CODE", "e": 418, "f": "bad"},
        "g": "text",
        "h": None,
        "i": 7,
    }
    assert json.loads(ALL.body(418, "a_code", "what")) == expected


def test_kinds_go_by_status_then_by_class() -> None:
    assert [ALL.kind(status) for status in (400, 404, 499, 500, 503)] == ["bad", "missing", "bad", 5, 5]
    assert TEXT.kind(400) == ""


def test_a_header_has_the_kind_too() -> None:
    assert dict(ALL.headers(404)) == {"content-type": "application/json", "x-kind": "missing"}
    assert dict(ALL.headers(503))["x-kind"] == "5"
    assert dict(TEXT.headers(503)) == {"content-type": "application/json"}


@given(st.text())
def test_no_message_is_taken_for_a_place(message: str) -> None:
    assert json.loads(TEXT.body(400, "c", message)) == {"error": message}
    assert json.loads(TEXT.body(400, "c", CODE)) == {"error": CODE}
