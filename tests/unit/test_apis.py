"""The table of inference APIs: which method and path is which operation, and what the path tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import apis
from extproc.headers import Headers

NO_HEADERS = Headers()


@pytest.mark.parametrize(
    ("method", "path", "api", "operation", "model", "version", "in_body"),
    [
        ("POST", "/v1/chat/completions", "openai", "chat.completions", None, None, True),
        ("POST", "/v1/chat/completions?api=1", "openai", "chat.completions", None, None, True),
        ("POST", "/v1/completions", "openai", "completions", None, None, True),
        ("POST", "/v1/embeddings", "openai", "embeddings", None, None, True),
        ("POST", "/v2/models/iris/infer", "oip", "infer", "iris", None, False),
        ("POST", "/v2/models/iris/versions/2/infer", "oip", "infer", "iris", "2", False),
        ("POST", "/v2/models/org%2Firis%3Av1/infer?x=/v1/completions", "oip", "infer", "org/iris:v1", None, False),
        ("POST", "/v2/models/versions/infer", "oip", "infer", "versions", None, False),
    ],
)
def test_classify(
    method: str, path: str, api: str, operation: str, model: str | None, version: str | None, in_body: bool
) -> None:
    found = apis.classify(method, path, NO_HEADERS)
    assert found is not None
    assert (found.api, found.name, found.model, found.version) == (api, operation, model, version)
    assert (found.reader is not None) == in_body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("post", "/v1/completions"),
        ("OPTIONS", "/v1/embeddings"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/V1/completions"),
        ("POST", "/v2/models//infer"),
        ("POST", "/v2/models/iris/versions//infer"),
        ("POST", "/v2/models/iris"),
        ("POST", "/v2/models/" + "m" * 257 + "/infer"),
        ("GET", "/v2/models/iris/infer"),
        ("POST", "/"),
        ("POST", ""),
        ("", ""),
    ],
)
def test_no_inference(method: str, path: str) -> None:
    assert apis.classify(method, path, NO_HEADERS) is None


def test_every_row_of_the_table_is_found_and_has_a_way_to_the_model() -> None:
    for row in apis.TABLE:
        path = row.path.format(model="m", version="1")
        found = apis.classify(row.method, path, NO_HEADERS)
        assert found is not None, path
        assert (found.api, found.name) == (row.api, row.operation)
        assert (found.model is None) == (row.reader is not None)


def test_no_two_rows_claim_the_same_requests() -> None:
    shapes = [(row.method, row.path.format(model="*", version="*")) for row in apis.TABLE]
    assert len(set(shapes)) == len(shapes)


@given(st.text(max_size=8), st.text(max_size=60) | st.text("/v12modelsinfer%{}?", max_size=60))
def test_any_text_is_classified_or_not(method: str, path: str) -> None:
    found = apis.classify(method, path, NO_HEADERS)
    assert found is None or found.api in apis.NAMES
