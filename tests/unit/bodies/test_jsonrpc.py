"""Reading JSON-RPC messages: what counts, what stands twice, and where another name goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.jsonrpc import BATCH, METHODS, OTHER, RESPONSE, RpcReader
from extproc.bodies.request import BodyFields
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers

READER = RpcReader()
HEADERS = Headers()
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"name":"x"}, "name" : "old", "z":1}}'


def read(body: bytes) -> BodyFields:
    return READER.read(body, HEADERS)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"method":"tools/list","method":"tools/call","params":{"name":"a"}}', "duplicate_method"),
        (b'{"method":"tools/list","m\\u0065thod":"tools/list"}', "duplicate_method"),
        (b'{"method":"tools/call","params":{"name":"a"},"params":{"name":"a"}}', "duplicate_params"),
        (b'{"method":"tools/call","params":{"name":"a","arguments":{},"name":"b"}}', "duplicate_name"),
        (b'{"method":"prompts/get","params":{"name":"a","n\\u0061me":"b"}}', "duplicate_name"),
        (b'{"method":"tools/list","Method":"tools/call","params":{"name":"a"}}', "duplicate_method"),
        (b'{"Method":"tools/call","params":{"name":"a"}}', "ambiguous_method"),
        ('{"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}}'.encode(), "duplicate_params"),
        (b'{"method":"tools/call","params":{"name":"a"},"PARAM\\u017f":{"name":"b"}}', "duplicate_params"),
        ('{"method":"tools/call","param\u017f":{"name":"b"}}'.encode(), "ambiguous_params"),
        (b'{"method":"tools/call","params":{"name":"a","NAME":"b"}}', "duplicate_name"),
        (b'{"method":"tools/call","params":{"Name":"b"}}', "ambiguous_name"),
        (b'{"method":"tools/call","params":{"name":"a\\ud83d"}}', "ambiguous_model"),
        (b'{"method":"tools/call","params":{"name":"a\xed\xa0\xbd"}}', "ambiguous_model"),
    ],
)
def test_what_decides_and_stands_twice_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, code)


def test_what_python_reads_beyond_the_standard_is_read_and_renamed() -> None:
    body = b'{"method":"tools/call","params":{"arguments":{"x":NaN,"y":"\\ud83d"},"name":"old"}}'
    assert read(body).model == "old"
    splice = READER.rename(body, HEADERS, "new")
    assert splice is not None
    assert splice.apply(body) == body.replace(b"old", b"new")
    body = b'{"x":NaN,"method":"tools/call","params":{"y":[-Infinity],"z":Infinity,"name":"old"}}'
    splice = READER.rename(body, HEADERS, "new")
    assert splice is not None
    assert splice.apply(body) == body.replace(b"old", b"new")


def test_what_does_not_decide_may_stand_twice() -> None:
    body = b'{"method":"tools/call","id":1,"id":2,"params":{"name":"a","x":{"name":1,"name":2}},"x":{"params":[]}}'
    assert read(body).model == "a"
    assert read(b'{"method":"tools/list","params":{"name":1,"name":2}}') == BodyFields(operation="tools/list")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no_body"),
        (b"null", "bad_json"),
        (b'{"method":', "bad_json"),
        (b'{"a":' + b"[" * 20_000, "bad_json"),
        (b'{"method":"tools/call"}', "no_model"),
        (b'{"method":"tools/call","params":["a"]}', "no_model"),
        (b'{"method":"tools/call","params":{}}', "no_model"),
        (b'{"method":"tools/call","params":{"name":7}}', "bad_model"),
        (b'{"method":"tools/call","params":{"name":"' + b"n" * 257 + b'"}}', "bad_model"),
    ],
)
def test_unreadable(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(body)
    assert caught.value.reason == reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_another_name_is_put_where_the_old_one_stands(encoding: str) -> None:
    body = CALL.decode().encode(encoding)
    splice = READER.rename(body, HEADERS, 'né"w')
    assert splice is not None
    changed = splice.apply(body)
    expected = json.loads(CALL)
    expected["params"]["name"] = 'né"w'
    assert json.loads(changed) == expected
    assert read(changed).model == 'né"w'
    if encoding == "utf-8":
        assert changed == CALL.replace(b'"old"', json.dumps('né"w', ensure_ascii=False).encode())


@pytest.mark.parametrize("body", [b'{"method":"tools/list","params":{"name":"n"}}', b"[]", b'{"id":1,"result":{}}'])
def test_where_nothing_is_called_nothing_is_renamed(body: bytes) -> None:
    assert READER.rename(body, HEADERS, "new") is None


VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["tools/call", "prompts/get", "ping", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["method", "params", "name", "arguments", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(VALUES | st.fixed_dictionaries({"method": VALUES, "params": VALUES}))
def test_reads_what_json_reads(document: Any) -> None:
    body = json.dumps(document).encode()
    try:
        fields = read(body)
    except Unreadable:
        return
    method = document.get("method") if isinstance(document, dict) else None
    assert fields.operation in METHODS | {OTHER, BATCH, RESPONSE}
    if fields.model:
        assert (fields.operation, fields.model) == (method, document["params"]["name"])
    elif fields.operation in METHODS:
        assert fields.operation == method


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        fields = read(body)
    except (Unreadable, Rejected):
        return
    assert fields.operation


def test_a_document_is_read_when_all_of_it_is_there() -> None:
    assert not RpcReader().early
