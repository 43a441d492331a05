"""The table of inference APIs: how rows are found, and what holds for every one of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import apis
from extproc.apis.row import ANY_PATH, Row
from extproc.bodies.json_reader import MAX_MODEL_LENGTH, JsonReader
from extproc.bodies.request import Reader
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers
from tests.house.tree import ROOT
from tests.unit.apis.requests import all_fields

NO_HEADERS = Headers()
FAMILIES = ROOT / "extproc" / "apis"
MECHANICS = {
    "answer_shape",
    "answer_table",
    "any_model",
    "error_shape",
    "error_table",
    "grpc_error",
    "model_list",
    "input_only",
    "__init__",
    "__main__",
    "path_pattern",
    "prompts",
    "row",
    "stored_objects",
    "table",
}


def of_row(row: Row) -> tuple[str, Headers]:
    """A request target and headers that fit a row."""
    path = "/any" if row.path == ANY_PATH else row.path.replace("{*}", "x").format(model="m", version="1")
    headers = Headers([(row.header, b"m")] if row.header else [])
    return path + (f"?{row.query}=m" if row.query else ""), headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/chat/completions"),
        ("post", "/v1/completions"),
        ("OPTIONS", "/v1/embeddings"),
        ("POST", "/v1/chat/completions//"),
        ("POST", "/v2/models/iris/infer//"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/V1/completions"),
        ("POST", "v1/completions"),
        ("POST", "/v2/models//infer"),
        ("POST", "/v2/models/iris/versions//infer"),
        ("POST", "/v2/models/" + "m" * 257 + "/infer"),
        ("POST", "/gw/v1/completions"),
        ("POST", "/metrics"),
        ("PUT", "/"),
        ("POST", ""),
        ("OPTIONS", "*"),
        ("", ""),
    ],
)
def test_no_inference(method: str, path: str) -> None:
    assert apis.classify(method, path, NO_HEADERS) is None


@pytest.mark.parametrize(
    ("path", "renamed"),
    [
        ("/v1/chat/completions/", None),
        ("/v1/chat/completions/?x=1", None),
        ("/v2/models/iris/infer/", "/v2/models/x/infer/"),
        ("/v2/models/iris/infer/?a=b", "/v2/models/x/infer/?a=b"),
        ("/v1/models/iris:predict/", "/v1/models/x:predict/"),
        ("/team/v2/models/iris/infer/", "/team/v2/models/x/infer/"),
    ],
)
def test_one_slash_at_the_end_says_nothing_and_stays(path: str, renamed: str | None) -> None:
    found = apis.classify("POST", path, NO_HEADERS, ("/team",))
    assert found is not None
    assert found.model == (None if renamed is None else "iris")
    assert (found.rename("x") if found.rename else (":path", None)) == (":path", renamed)


def test_the_query_is_no_part_of_the_path() -> None:
    found = apis.classify("POST", "/v2/models/iris/infer?x=/v1/completions", NO_HEADERS)
    assert found is not None
    assert (found.api, found.model) == ("oip", "iris")


def test_a_prefix_counts_only_where_it_stands_and_the_path_alone_is_no_apis() -> None:
    prefixes = ("/v1", "/team/a")
    assert apis.classify("POST", "/team/a/v1/embeddings", NO_HEADERS, prefixes) is not None
    assert apis.classify("POST", "/v1/embeddings", NO_HEADERS, prefixes) is not None
    assert apis.classify("POST", "/v1/v1/embeddings", NO_HEADERS, prefixes) is not None
    for path in ("/team/av1/embeddings", "/team/b/v1/embeddings", "/x/team/a/v1/embeddings", "/team/a"):
        assert apis.classify("POST", path, NO_HEADERS, prefixes) is None


def test_every_row_is_found() -> None:
    seen: dict[tuple[str, str, str], Row] = {}
    for row in apis.TABLE:
        path, headers = of_row(row)
        found = apis.classify(row.method, path, headers)
        assert found is not None, path
        assert (found.api, found.name, found.stream, found.uploads) == (row.api, row.operation, row.stream, row.uploads)
        assert found.reader is row.reader
        assert found.model == (None if row.names == "body" else "m" if row.names else "")
        assert (found.rename is not None) == (row.names in ("path", "query", "header"))
        assert seen.setdefault((row.method, path, row.header), row) is row, "two rows claim the same requests"


def test_every_family_has_one_module_that_the_table_has() -> None:
    modules = {path.stem for path in FAMILIES.glob("*.py")} - MECHANICS
    assert {family.__name__.rpartition(".")[2] for family in apis.FAMILIES} == modules
    assert {row.api for row in apis.TABLE} == apis.NAMES


@given(
    st.sampled_from(["POST", "GET", ""]) | st.text(max_size=8),
    st.text(max_size=60)
    | st.text("/v12modelsinfer%{}?:=&*", max_size=60)
    | st.sampled_from([r.path for r in apis.TABLE]),
    st.lists(st.tuples(st.sampled_from(sorted({r.header for r in apis.TABLE})), st.binary(max_size=9)), max_size=3),
    st.lists(st.sampled_from(["/", "/v1", "/gw", ""]), max_size=2),
)
def test_anything_is_classified_or_not(
    method: str, path: str, headers: list[tuple[str, bytes]], prefixes: list[str]
) -> None:
    found = apis.classify(method, path, Headers(headers), tuple(prefixes))
    if found is not None:
        assert found.api in apis.NAMES
        assert found.model is None or len(found.model) <= MAX_MODEL_LENGTH
        if found.rename is not None:
            found.rename("x")


EACH = settings().max_examples * 3 // 8
"""Examples for each reader: 36 of the 45 are of one class, and differ in the places where they look."""
READERS: dict[int, Reader] = {id(row.reader): row.reader for row in apis.TABLE if row.reader is not None}
KEYS = sorted(
    {
        key
        for reader in READERS.values()
        if isinstance(reader, JsonReader)
        for pointers in reader.pointers.values()
        for pointer in pointers
        for key in pointer.split("/")[1:]
    }
    | {"Model", "modelid", "x"}
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["m", "m" * 257, "sse"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6)


def model_by_json(document: Any, key: str) -> str | None:
    """The model that Python's json would give a server; None where that is no name for one."""
    model = document.get(key) if isinstance(document, dict) else None
    return model if isinstance(model, str) and 0 < len(model) <= MAX_MODEL_LENGTH else None


NAMING = {id(r.reader): r.reader for r in apis.TABLE if isinstance(r.reader, JsonReader) and not r.unnamed}


@pytest.mark.parametrize("reader", NAMING.values(), ids=lambda reader: "+".join(reader.pointers["prompt"]))
@settings(max_examples=EACH)
@given(DOCUMENTS, st.none() | JSON, st.booleans(), st.none() | st.just(1))
def test_the_model_is_what_json_gives(
    reader: JsonReader, document: Any, model: Any, ascii_only: bool, indent: int | None
) -> None:
    (pointer,) = reader.pointers["model"]
    key = pointer.removeprefix("/")
    if model is not None and isinstance(document, dict):
        document[key] = model
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    expected = model_by_json(json.loads(body), key)
    try:
        fields = reader.read(body, NO_HEADERS)
    except Unreadable:
        assert expected is None
    except Rejected:
        assert any(name != key and name.lower() == key.lower() for name in document)
    else:
        assert fields.model == expected


HEADERS = st.sampled_from(
    [
        NO_HEADERS,
        *(Headers.of([("content-type", kind)]) for kind in ("multipart/form-data; boundary=xx", "application/grpc")),
    ]
)


@pytest.mark.parametrize("reader", READERS.values(), ids=lambda reader: type(reader).__name__)
@settings(max_examples=EACH)
@given(
    DOCUMENTS.map(lambda v: json.dumps(v).encode()) | st.binary(max_size=80) | st.text(max_size=40).map(str.encode),
    HEADERS,
)
def test_no_body_makes_a_reader_fail(reader: Reader, body: bytes, headers: Headers) -> None:
    try:
        fields = reader.read(body, headers)
    except (Unreadable, Rejected):
        return
    if isinstance(fields, int):
        return
    all_fields(fields)
    if fields.model:
        splice = reader.rename(body, headers, "another")
        assert splice is not None
        again = reader.read(splice.apply(body), headers)
        assert not isinstance(again, int)
        assert again.model == "another"


def test_what_is_kept_in_mind_is_only_what_the_target_tells() -> None:
    header = next(row.header for row in apis.TABLE if row.api == "seldon")
    wanted = [("seldon", "a"), ("oip", "iris"), ("seldon", "b")]
    heads = [Headers([(header, model.encode())]) if api == "seldon" else NO_HEADERS for api, model in wanted]
    found = [apis.classify("POST", "/v2/models/iris/infer", headers) for headers in heads]
    assert [(one.api, one.model) for one in found if one] == wanted


def test_long_targets_are_not_kept_in_mind() -> None:
    before = apis._cached_matches.cache_info().currsize
    found = apis.classify("POST", f"/v2/models/{'m' * 200}/infer?{'x' * 400}", NO_HEADERS)
    assert found is not None
    assert found.model == "m" * 200
    assert apis._cached_matches.cache_info().currsize == before
