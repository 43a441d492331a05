"""The model that Envoy has read counts, but where the body tells more than its name."""

from __future__ import annotations

from typing import Any

import pytest

from extproc import apis
from extproc.apis import TABLE
from extproc.events import RequestHeaders
from extproc.headers import Headers
from extproc.native import BODY_MODEL, told
from extproc.request import Operation
from extproc.view import Policy, Sticky, Version, View

CHAT = "/v1/chat/completions"
V1 = (Version("v1", 1),)


def chat(path: str = CHAT) -> Operation:
    found = apis.classify("POST", path, Headers())
    assert found is not None
    return found


def event(model: str = "llama", length: str = "10") -> RequestHeaders:
    headers = Headers.of((("content-length", length),) if length else ())
    return RequestHeaders(headers, metadata={BODY_MODEL: model} if model else {"policy": "p"})


def view(**policy: Any) -> View:
    return View((Policy("p", models=("llama",), versions=policy.pop("versions", V1), body_limit=100, **policy),))


def test_the_model_is_the_one_that_envoy_read() -> None:
    operation = told(chat(), event(), view())
    assert (operation.model, operation.reader, operation.api) == ("llama", None, "openai")


@pytest.mark.parametrize("length", ["100", "0"])
def test_a_body_within_the_limit_stays_in_envoy(length: str) -> None:
    assert told(chat(), event(length=length), view()).model == "llama"


@pytest.mark.parametrize("model", ["", "m" * 257])
def test_no_model_and_noise_leave_it_to_the_body(model: str) -> None:
    assert told(chat(), event(model), view()) is chat()


@pytest.mark.parametrize("length", ["101", "", "9" * 30, "-1"])
def test_a_body_that_may_be_too_large_is_asked_for(length: str) -> None:
    assert told(chat(), event(length=length), view()) is chat()


def test_a_model_of_nobodys_needs_no_limit() -> None:
    assert told(chat(), event("mixtral", ""), view()).model == "mixtral"


@pytest.mark.parametrize(
    "policy", [{"sticky": Sticky(body=("user",))}, {"versions": (Version("v1", 1, model_rewrite="other"),)}]
)
def test_a_policy_that_needs_the_body_gets_it(policy: dict[str, Any]) -> None:
    assert told(chat(), event(), view(**policy)) is chat()


def test_only_a_document_whose_model_is_called_model() -> None:
    others = [row for row in TABLE if row.reader is not None and not getattr(row.reader, "names_model", False)]
    assert others
    for row in others:
        operation = Operation(row.api, row.operation, reader=row.reader)
        assert told(operation, event(), view()) is operation
