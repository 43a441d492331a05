"""Naming another model where the head names it: in a path, a query or a header, and nothing else changes."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import apis
from extproc.bodies.request import Operation
from extproc.headers import Headers

NO_HEADERS = Headers()


def found(method: str, path: str, headers: Headers = NO_HEADERS, prefixes: tuple[str, ...] = ()) -> Operation:
    operation = apis.classify(method, path, headers, prefixes)
    assert operation is not None
    return operation


def renamed(
    line: str, model: str, headers: Headers = NO_HEADERS, prefixes: tuple[str, ...] = ()
) -> tuple[str, str] | None:
    method, _, path = line.partition(" ")
    rename = found(method, path, headers, prefixes).rename
    return rename(model) if rename is not None else None


@pytest.mark.parametrize(
    ("line", "model", "path"),
    [
        ("POST /v2/models/iris/infer", "iris-2", "/v2/models/iris-2/infer"),
        ("POST /v2/models/iris/versions/1/infer?x=1&y", "b", "/v2/models/b/versions/1/infer?x=1&y"),
        ("POST /v2/models/a%2Fb/infer", "org/iris:v1 é%", "/v2/models/org%2Firis%3Av1%20%C3%A9%25/infer"),
        ("POST /v1/models/iris:PREDICT", "b", "/v1/models/b:PREDICT"),
        ("POST /v1/models/a:b:predict", "c:d", "/v1/models/c%3Ad:predict"),
        ("POST /v1/models/iris/versions/2:classify", "b", "/v1/models/b/versions/2:classify"),
        ("POST /model/a%3A0/converse-stream", "arn:aws:x/y", "/model/arn%3Aaws%3Ax%2Fy/converse-stream"),
        ("POST /openai/deployments/d/embeddings?api-version=1", "e", "/openai/deployments/e/embeddings?api-version=1"),
        ("POST /v1/publishers/google/models/m:rawPredict", "n", "/v1/publishers/google/models/n:rawPredict"),
        ("GET /v1/realtime?model=a&x=%20", "b/c", "/v1/realtime?model=b%2Fc&x=%20"),
        ("GET /v1/realtime?x=1&m%6Fdel=a%20b&y=+", "c", "/v1/realtime?x=1&m%6Fdel=c&y=+"),
        ("GET /openai/realtime?api-version=1&deployment=a", "b", "/openai/realtime?api-version=1&deployment=b"),
    ],
)
def test_another_model_in_the_path_or_the_query(line: str, model: str, path: str) -> None:
    assert renamed(line, model) == (":path", path)


@pytest.mark.parametrize(
    ("line", "header", "model", "value"),
    [
        ("POST /v2/models/iris/infer", "seldon-model", "b", "b"),
        ("POST /endpoints/e/invocations", "x-amzn-sagemaker-target-model", "m 2.tar.gz", "m%202.tar.gz"),
        ("POST /endpoints/e/invocations", "x-amzn-sagemaker-inference-component", "c", "c"),
        ("GET /any/path?x", "serve_multiplexed_model_id", "é", "%C3%A9"),
    ],
)
def test_another_model_in_the_header(line: str, header: str, model: str, value: str) -> None:
    assert renamed(line, model, Headers.of([(header, "old")])) == (header, value)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("POST /gw/v2/models/iris/infer?x", "/gw/v2/models/b/infer?x"),
        ("POST /gw/v1/models/iris:predict", "/gw/v1/models/b:predict"),
        ("GET /gw/v1/realtime?model=a", "/gw/v1/realtime?model=b"),
    ],
)
def test_what_a_gateway_put_in_front_stays(line: str, path: str) -> None:
    assert renamed(line, "b", prefixes=("/other", "/gw")) == (":path", path)


def test_where_the_body_or_nobody_names_the_model_the_head_stays() -> None:
    for line in ("POST /v1/chat/completions", "POST /invocations", "POST /generate", "GET /v1/realtime"):
        assert renamed(line, "b") is None


@pytest.mark.parametrize("values", [["a", "b"], ["a", "a"], [""], ["m" * 257]])
def test_a_header_that_is_in_doubt_names_no_model(values: list[str]) -> None:
    headers = Headers.of([("seldon-model", value) for value in values])
    assert apis.classify("POST", "/v2/models/iris/infer", headers) is None


@pytest.mark.parametrize("query", ["model=a&model=b", "model=&model=a", "model=", "model=" + "m" * 257])
def test_a_query_that_is_in_doubt_names_no_model(query: str) -> None:
    assert apis.classify("GET", f"/v1/realtime?{query}", NO_HEADERS) is None


def test_names_and_queries_are_measured_before_they_are_unescaped() -> None:
    longest = "%F0%9F%98%80" * 256
    found = apis.classify("POST", f"/v2/models/{longest}/infer", NO_HEADERS)
    assert found is not None
    assert found.model == "\N{GRINNING FACE}" * 256
    assert apis.classify("POST", f"/v2/models/{longest}%41/infer", NO_HEADERS) is None
    many = "&x=%41" * 99
    found = apis.classify("GET", f"/v1/realtime?model=a{many}", NO_HEADERS)
    assert found is not None
    assert found.model == "a"
    assert apis.classify("GET", f"/v1/realtime?model=a{many}&y", NO_HEADERS) is None
    assert apis.classify("GET", "/v1/realtime?model=a&x=" + "y" * 9000, NO_HEADERS) is None


NAMES = st.text(min_size=1, max_size=30).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))


@given(NAMES, st.sampled_from(["", "/gw"]), st.sampled_from(["", "?x=1&model=2"]))
def test_whatever_is_named_in_a_path_is_read_back(model: str, prefix: str, query: str) -> None:
    for path in ("/v2/models/old/infer", "/v1/models/old:Predict", "/predictions/old/7"):
        pair = renamed(f"POST {prefix}{path}{query}", model, prefixes=(prefix,) if prefix else ())
        assert pair is not None
        assert found("POST", pair[1], prefixes=("/gw",)).model == model
        assert pair[1].isascii()
        assert pair[1].startswith(prefix + path.partition("old")[0])
        assert pair[1].endswith(path.partition("old")[2] + query)


@given(NAMES)
def test_whatever_is_named_in_a_query_or_a_header_is_read_back(model: str) -> None:
    pair = renamed("GET /v1/realtime?a=b&model=old&c=d", model)
    assert pair is not None
    assert found("GET", pair[1]).model == model
    assert parse_qs(urlsplit(pair[1]).query) == {"a": ["b"], "model": [model], "c": ["d"]}
    pair = renamed("POST /v2/models/x/infer", model, Headers.of([("seldon-model", "old")]))
    assert pair is not None
    assert unquote(pair[1]) == model
