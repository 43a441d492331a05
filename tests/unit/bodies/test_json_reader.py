"""Reading what an API says in a JSON body: what counts, what is refused, and where a new model name goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.json_reader import JsonReader
from extproc.bodies.request import BodyEdit, BodyFields
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers
from tests.unit.apis.requests import all_fields

READER = JsonReader(prompt=["/messages"], limit=["/max_tokens", "/options/num_predict"], adapter=["/lora/name"])
HEADERS = Headers()


def read(body: bytes, reader: JsonReader = READER) -> BodyFields:
    return all_fields(reader.read(body, HEADERS))


def rename(body: bytes, model: str) -> BodyEdit:
    splice = READER.rename(body, HEADERS, model)
    assert splice is not None
    return splice


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("model"), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model":"llama-3"}', "llama-3", False),
        (b'{"stream": true, "messages": [], "model": "llama-3"}', "llama-3", True),
        ('{"model":"é","stream":true}'.encode("utf-16"), "é", True),
        ('{"model":"é"}'.encode("utf-32-be"), "é", False),
        (b'{"model":"m","stream":"yes"}', "m", False),
        (b'{"model":"m","stream":null}', "m", False),
        (b' \r\n\t{ "model" : "m" } \n', "m", False),
        (b'\xef\xbb\xbf{"model":"m"}', "m", False),
        (b'{"mod\\u0065l":"escaped"}', "escaped", False),
        (b'{"\\u006D\\u006Fdel":"escaped"}', "escaped", False),
        (b'{"model":"\\u00e9\\ud83d\\ude00/x:y@z"}', "é😀/x:y@z", False),
        (b'{"messages":[{"role":"model","model":"inner"}],"model":"outer"}', "outer", False),
        (b'{"tools":{"model":1,"x":[{"model":2}]},"model":"outer","n":12345678901234567890e5}', "outer", False),
        (b'{"model":"m","x":"\\"model\\":\\"other\\""}', "m", False),
        (b'{"model":"' + b"m" * 256 + b'"}', "m" * 256, False),
    ],
)
def test_reads(body: bytes, model: str, stream: bool) -> None:
    fields = read(body)
    assert (fields.model, fields.stream) == (model, stream)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no_body"),
        (b"hello", "bad_json"),
        (b"[]", "bad_json"),
        (b'"model"', "bad_json"),
        (b"null", "bad_json"),
        (b'{"model":"m"', "bad_json"),
        (b'{"model":"m"}{"model":"n"}', "bad_json"),
        (b'{"model":"m",}', "bad_json"),
        (b"{'model':'m'}", "bad_json"),
        (b'{"a":' * 20_000, "bad_json"),
        (b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b',"model":"m"}', "bad_json"),
        ('{"model":"m"}'.encode("utf-16")[:-1], "bad_json"),
        (b"{}", "no_model"),
        (b'{"models":"m","xModel":"m"}', "no_model"),
        (b'{"x":{"Model":"m"}}', "no_model"),
        (b'{"model":NaN}', "bad_model"),
        (b'{"model":"m","x":[NaN,]}', "bad_json"),
        (b'{"model":"m\xff"}', "bad_model"),
        (b'{"x":{"model":"m"}}', "no_model"),
        (b'{"model":null}', "bad_model"),
        (b'{"model":7}', "bad_model"),
        (b'{"model":["m"]}', "bad_model"),
        (b'{"model":""}', "bad_model"),
        (b'{"model":"' + b"m" * 257 + b'"}', "bad_model"),
    ],
)
def test_unreadable(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(body)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","x":{"model":[1,{"model":"b"}]},"model":"b"}',
        b'{"model":"a","\\u006dodel":"b"}',
        b'{"mo\\u0064el":"a","mode\\u006C":"b"}',
        b'{"model":1,"model":"b"}',
        b'{"model":"a" , "x" : -1.5e+300 , "model" : null }',
        b'{"model":"a","Model":"b"}',
        b'{"MODEL":"b","x":{"model":1},"model":"a"}',
        b'{"Model":"a","mOdel":"b"}',
        b'{"model":"a","\\u004dodel":"b"}',
        b'{"model":"a","x":NaN,"Model":"b"}',
        b'{"model":"a","x":"\\ud83d","mode\\u006c":"b"}',
        b'{"\xff":1,"model":"a","model":"b"}',
        b'{"x":"' + b"A" * 100_000 + b'","Model":"b","model":"a"}',
        b'{"x":["' + b'","' * 40_000 + b'"],"Model":"b","model":"a"}',
    ],
)
def test_a_second_model_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, "duplicate_model")


@pytest.mark.parametrize(
    "body",
    [
        b'{"Model":"m"}',
        b'{"MODEL":"m","x":{"model":"n"}}',
        b'{"\\u004dodel":"m"}',
        b'{"model":"m\\ud83d"}',
        b'{"model":"\\ude00\\ud83d"}',
        b'{"model":"m\xed\xa0\xbd"}',
        '{"model":"m\ud83d"}'.encode("utf-16", "surrogatepass"),
    ],
)
def test_a_model_that_only_some_servers_read_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, "ambiguous_model")


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":["cut \\ud83d"],"model":"old"}',
        b'{"a":"\\\\ud83d\\ude00","\\udc00":"\\ud83d\\ude00","model":"old","max_tokens":7,"temperature":NaN}',
        b'\xef\xbb\xbf {"x":[-Infinity,Infinity,NaN],"y":"NaN, Infinity","model":"old"}',
        b'{"\\u0061":"\\ud83d","model":"old"}',
        b'{"\\u0061":NaN,"x":-Infinity,"y":Infinity,"model":"old"}',
        '{"x":"\ud83d","model":"old"}'.encode("utf-16", "surrogatepass"),
        '{"x":"\ud83d","model":"old"}'.encode("utf-8", "surrogatepass"),
    ],
)
def test_what_python_reads_beyond_the_standard_is_read_and_renamed(body: bytes) -> None:
    assert read(body).model == "old"
    old = json.loads(body)
    changed = json.loads(rename(body, "new").apply(body))
    assert repr(changed) == repr({**old, "model": "new"})


@given(
    st.dictionaries(st.text(max_size=6), JSON, max_size=5), st.text('abcé"\\/ 😀', min_size=1, max_size=20), st.data()
)
def test_replacing_changes_the_model_and_nothing_else(
    document: dict[str, Any], model: str, data: st.DataObject
) -> None:
    document["model"] = "old" + model
    items = data.draw(st.permutations(list(document.items())))
    body = json.dumps(
        dict(items), ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.none() | st.just(1))
    ).encode()
    assert read(body).model == "old" + model
    splice = rename(body, "new" + model)
    changed = splice.apply(body)
    assert json.loads(changed) == {**document, "model": "new" + model}
    assert changed[: splice.start] == body[: splice.start]
    assert changed[splice.start + len(splice.data) :] == body[splice.end :]
    assert json.loads(body[splice.start : splice.end]) == "old" + model


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        fields = read(body)
    except (Unreadable, Rejected):
        return
    assert json.loads(body.decode("utf-8-sig"))["model"] == fields.model


@given(
    st.lists(st.tuples(st.sampled_from(["model", "x", "Model", "mode"]), st.text(max_size=3)), min_size=1, max_size=5),
    st.data(),
)
def test_duplicates_are_refused_however_they_are_spelled(members: list[tuple[str, str]], data: st.DataObject) -> None:
    def spell(key: str) -> str:
        return "".join(f"\\u{ord(c):04x}" if data.draw(st.booleans()) else c for c in key)

    body = ("{" + ",".join(f'"{spell(k)}":{json.dumps("v" + v)}' for k, v in members) + "}").encode()
    spelled = [key for key, _ in members if key.lower() == "model"]
    if len(spelled) > 1 or spelled == ["Model"]:
        with pytest.raises(Rejected, match=r"more than one 'model' key" if len(spelled) > 1 else "in other letters"):
            read(body)
    elif spelled:
        assert read(body).model == "v" + dict(members)["model"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m","messages":[1, 2],"max_tokens":7}', BodyFields("m", max_tokens=7, prompt_bytes=6)),
        (b'{"model":"m","max_tokens":true,"options":{"num_predict":9}}', BodyFields("m", max_tokens=9)),
        (b'{"model":"m","max_tokens":0,"options":{"num_predict":9}}', BodyFields("m", max_tokens=0)),
        (b'{"model":"m","options":{"num_predict":9}}', BodyFields("m", max_tokens=9)),
        (b'{"model":"m","max_tokens":-1,"options":[9]}', BodyFields("m")),
        (b'{"model":"m","lora":{"name":"ad"},"options":null}', BodyFields("m", adapter="ad")),
        (b'{"model":"m","lora":"ad","max_tokens":"7"}', BodyFields("m")),
    ],
)
def test_the_rest_of_what_is_asked(body: bytes, expected: BodyFields) -> None:
    assert read(body) == expected


def test_an_api_without_a_model_that_streams_by_default() -> None:
    reader = JsonReader(model="", streams=True)
    assert read(b'{"model":1}', reader) == BodyFields(stream=True)
    assert read(b'{"stream":false}', reader) == BodyFields(stream=False)
    assert reader.rename(b"{}", HEADERS, "m") is None


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_replacing_keeps_the_encoding(encoding: str) -> None:
    body = '{"x":"é","model":"old"}'.encode(encoding)
    assert json.loads(rename(body, "new").apply(body)) == {"x": "é", "model": "new"}


def test_a_document_is_read_when_all_of_it_is_there() -> None:
    assert not JsonReader().early


def test_only_the_key_model_is_called_so() -> None:
    assert JsonReader().names_model
    assert not JsonReader(model="modelId").names_model
    assert not JsonReader(model="").names_model
