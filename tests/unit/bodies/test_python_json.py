"""What servers read where they differ from RFC 8259 and each other, and that we read what they do or refuse."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.json_reader import JsonReader
from extproc.bodies.python_json import to_standard_json
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers

READER = JsonReader()
REFUSED = None
"""The server answers with an error."""
NONE = ""
"""The server reads the body, and sees no model in it."""
UNSEEN = "?"
"""Not tried: RapidJSON's binding for Python refuses bytes that are not UTF-8 before RapidJSON has them."""

# (body, what Python's json makes of its model, what Go's encoding/json, what Rust's serde_json in a derived struct,
# what RapidJSON, where a server takes the first member of a name (FindMember, as Triton does), what we do). Python's
# column and RapidJSON's are tested below. Go's was seen with go 1.26 (json.Unmarshal; a json.Decoder, as most servers
# use, also ignores what follows the first value), Rust's with serde_json 1.0 (duplicates are errors; a value of a field
# that the struct does not have is not looked at).
TABLE: list[tuple[bytes, str | None, str | None, str | None, str | None, str]] = [
    (b'{"model":"a","Model":"b"}', "a", "b", "a", "a", "duplicate_model"),
    (b'{"Model":"b","model":"a"}', "a", "a", "a", "a", "duplicate_model"),
    (b'{"model":"a","model":"b"}', "b", "b", REFUSED, "a", "duplicate_model"),
    (b'{"MODEL":"b"}', NONE, "b", NONE, NONE, "ambiguous_model"),
    (b'{"\\u004dodel":"b"}', NONE, "b", NONE, NONE, "ambiguous_model"),
    (b'{"model":"m\\ud83d"}', "m\ud83d", "m\ufffd", REFUSED, REFUSED, "ambiguous_model"),
    (b'{"model":"m\xed\xa0\xbd"}', "m\ud83d", "m\ufffd\ufffd\ufffd", REFUSED, UNSEEN, "ambiguous_model"),
    (b'{"model":"m\xff"}', REFUSED, "m\ufffd", REFUSED, UNSEEN, "bad_model"),
    (b'{"model":"a","x":"\\ud83d"}', "a", "a", "a", REFUSED, "a"),
    (b'{"model":"a","x":"\\ude00\\ud83d"}', "a", "a", "a", REFUSED, "a"),
    (b'{"model":"a","\\ud83d":1}', "a", "a", REFUSED, REFUSED, "a"),
    (b'{"model":"a","x":"\xed\xa0\xbd"}', "a", "a", "a", UNSEEN, "a"),
    (b'{"model":"a","x":"\xff"}', REFUSED, "a", "a", UNSEEN, "a"),
    (b'{"model":"a","x":NaN}', "a", REFUSED, REFUSED, REFUSED, "a"),
    (b'{"model":"a","x":[Infinity,-Infinity]}', "a", REFUSED, REFUSED, REFUSED, "a"),
    (b'{"model":"a","x":1e999}', "a", "a", "a", REFUSED, "a"),
    (b'\xef\xbb\xbf{"model":"a"}', "a", REFUSED, REFUSED, REFUSED, "a"),
    ('{"model":"a"}'.encode("utf-16"), "a", REFUSED, REFUSED, UNSEEN, "a"),
    (b'{"model":"a","x":-NaN}', REFUSED, REFUSED, REFUSED, REFUSED, "bad_json"),
    (b'{"model":"a"} x', REFUSED, REFUSED, REFUSED, REFUSED, "bad_json"),
    (b'{"model":"a","x":"\x01"}', REFUSED, REFUSED, REFUSED, REFUSED, "bad_json"),
    (b'{"model":"a","x":01}', REFUSED, REFUSED, REFUSED, REFUSED, "bad_json"),
    (b'{"model":"a",}', REFUSED, REFUSED, REFUSED, REFUSED, "bad_json"),
]


def outcome(body: bytes) -> str:
    """The model, or the word for why there is none."""
    try:
        return READER.read(body, Headers()).model
    except Rejected as rejected:
        return rejected.code
    except Unreadable as unreadable:
        return unreadable.reason


def by_python(body: bytes) -> str | None:
    """What a server has that calls ``json.loads`` (Starlette's ``request.json()``, and so vLLM's and SGLang's)."""
    try:
        return str(json.loads(body).get("model", NONE))
    except ValueError:
        return REFUSED


def by_rapidjson(body: bytes) -> str | None:
    """What a server has that calls ``Document::Parse`` and ``FindMember``."""
    rapidjson = pytest.importorskip("rapidjson", reason="RapidJSON's column needs the package python-rapidjson")

    class Members(rapidjson.Decoder):  # type: ignore[misc, name-defined]
        def start_object(self) -> list[tuple[str, Any]]:
            return []

    try:
        members = Members(number_mode=rapidjson.NM_NATIVE)(body)
    except ValueError:
        return REFUSED
    return str(next((value for key, value in members if key == "model"), NONE))


@pytest.mark.parametrize(("body", "rapidjson"), [(row[0], row[4]) for row in TABLE if row[4] != UNSEEN])
def test_what_rapidjson_reads(body: bytes, rapidjson: str | None) -> None:
    assert by_rapidjson(body) == rapidjson


@pytest.mark.parametrize(("body", "python", "go", "serde", "rapidjson", "ours"), TABLE)
def test_servers_and_what_we_read(
    body: bytes, python: str | None, go: str | None, serde: str | None, rapidjson: str | None, ours: str
) -> None:
    assert by_python(body) == python
    assert outcome(body) == ours
    read = {model for model in (python, go, serde, rapidjson) if model not in (REFUSED, UNSEEN)}
    if len(read) > 1:
        assert ours in ("duplicate_model", "ambiguous_model"), "servers differ"
    elif ours == "a":
        assert read == {"a"}


ODD = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=6)
    | st.sampled_from("\ud83d\ude00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5) | st.just("\udc00"), ODD, max_size=5), st.booleans())
def test_whatever_python_writes_is_read_and_renamed(document: dict[str, Any], ascii_only: bool) -> None:
    document = {key: value for key, value in document.items() if key.casefold() != "model"} | {"model": "old"}
    body = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert outcome(body) == "old"
    splice = READER.rename(body, Headers(), "new")
    assert splice is not None
    assert repr(json.loads(splice.apply(body))) == repr({**document, "model": "new"})


PIECES = ["NaN", "Infinity", "-", '"', "\\", '\\"', "\\ud83d", "\\ude00", "u", "[", "]", ",", "1", " ", '"x"', ":"]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_nothing_is_read_that_python_does_not(inner: str) -> None:
    body = b'{"model":"old","x":%b}' % inner.encode()
    try:
        document = json.loads(body)
    except ValueError:
        assert outcome(body) == "bad_json"
    else:
        assert outcome(body) == "old" or "model" in list(document)[1:]


@given(st.lists(st.sampled_from([*PIECES, '"model":"old",', "{", "}"]), max_size=20).map("".join))
def test_a_changed_text_keeps_its_length_and_its_strings(text: str) -> None:
    changed = to_standard_json(text.encode())
    assert changed is None or (len(changed) == len(text) and changed.count(b'"') == text.count('"'))


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (rb'["\ud83d"]', rb'["\ufffd"]'),
        (rb'["\uDe00\uD83d\ud83d\ude00"]', rb'["\ufffd\ufffd\ud83d\ude00"]'),
        (rb'["\\ud83d", "\"\\\ud83d", NaN]', rb'["\\ud83d", "\"\\\ufffd", [ ]]'),
        (rb'["NaN",NaN,"\"NaN",-Infinity,Infinity]', rb'["NaN",[ ],"\"NaN",[       ],[      ]]'),
        (rb'["\u0041\ud83d\ude00", 1]', None),
        (b"", None),
    ],
)
def test_what_is_replaced(text: bytes, changed: bytes | None) -> None:
    assert to_standard_json(text) == changed


@pytest.mark.parametrize("one", [b"NaN,", b'"NaN",', b'"\\ud83d",', b"-Infinity,"])
def test_too_much_is_left_as_it_is(one: bytes) -> None:
    few, many = b"[" + one * 9998 + b"NaN]", b"[" + one * 9999 + b"NaN]"
    assert len(msgspec.json.decode(to_standard_json(few) or b"")) == 9999
    assert to_standard_json(many) is None
    assert math.isnan(json.loads(many)[-1])


def test_200_000_escaped_surrogates_are_gone_through() -> None:
    pairs = rb"\ud83d\ude00" * 99_999
    assert to_standard_json(rb'["%b\ud83d\ud83d"]' % pairs) == rb'["%b\ufffd\ufffd"]' % pairs
    assert to_standard_json(rb'["%b\ud83d\ud83d\ud83d"]' % pairs) is None


def test_more_backslashes_than_that_are_not_gone_through() -> None:
    few, many = (rb'{"x":"%b","y":NaN}' % (rb"\/" * count) for count in (1_000_000, 1_000_001))
    assert to_standard_json(few) == few.replace(b"NaN", b"[ ]")
    assert to_standard_json(many) is None
