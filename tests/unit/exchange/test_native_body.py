"""The model that Envoy has read counts, but where the body tells more than its name."""

from __future__ import annotations

from typing import Any

import pytest

from extproc import apis
from extproc.apis import TABLE
from extproc.bodies.request import Operation
from extproc.envoy.events import RequestHeaders
from extproc.exchange.native_body import BODY_MODEL, with_native_model
from extproc.headers import Headers
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version

CHAT = "/v1/chat/completions"
V1 = (Version("v1", 1),)


def chat(path: str = CHAT) -> Operation:
    found = apis.classify("POST", path, Headers())
    assert found is not None
    return found


def event(model: str = "llama", length: str = "10") -> RequestHeaders:
    headers = Headers.of((("content-length", length),) if length else ())
    return RequestHeaders(headers, metadata={BODY_MODEL: model} if model else {"policy": "p"})


def snapshot(**policy: Any) -> Snapshot:
    return Snapshot((Policy("p", models=("llama",), versions=policy.pop("versions", V1), body_limit=100, **policy),))


def test_the_model_is_the_one_that_envoy_read() -> None:
    operation = with_native_model(chat(), event(), snapshot())
    assert (operation.model, operation.reader, operation.api) == ("llama", None, "openai")


@pytest.mark.parametrize("length", ["100", "0", "9".zfill(18)])
def test_a_body_within_the_limit_stays_in_envoy(length: str) -> None:
    assert with_native_model(chat(), event(length=length), snapshot()).model == "llama"


@pytest.mark.parametrize("model", ["m", "m" * 256])
def test_names_of_every_length_that_a_model_has(model: str) -> None:
    assert with_native_model(chat(), event(model, ""), snapshot()).model == model


@pytest.mark.parametrize("model", ["", "m" * 257])
def test_no_model_and_noise_leave_it_to_the_body(model: str) -> None:
    assert with_native_model(chat(), event(model), snapshot()) is chat()


@pytest.mark.parametrize("length", ["101", "", "9" * 30, "9".zfill(19), "-1"])
def test_a_body_that_may_be_too_large_is_asked_for(length: str) -> None:
    assert with_native_model(chat(), event(length=length), snapshot()) is chat()


def test_a_model_of_nobodys_needs_no_limit() -> None:
    assert with_native_model(chat(), event("mixtral", ""), snapshot()).model == "mixtral"


@pytest.mark.parametrize(
    "policy", [{"sticky": Sticky(body=("user",))}, {"versions": (Version("v1", 1, model_rewrite="other"),)}]
)
def test_a_policy_that_needs_the_body_gets_it(policy: dict[str, Any]) -> None:
    assert with_native_model(chat(), event(), snapshot(**policy)) is chat()


def test_only_a_document_whose_model_is_called_model() -> None:
    others = [row for row in TABLE if row.reader is not None and not getattr(row.reader, "names_model", False)]
    assert others
    for row in others:
        operation = Operation(row.api, row.operation, reader=row.reader)
        assert with_native_model(operation, event(), snapshot()) is operation


@pytest.mark.parametrize(("by", "asked"), [("prefix", True), ("least-loaded", False)])
def test_a_prompt_that_decides_is_asked_for(by: str, asked: bool) -> None:
    assert (with_native_model(chat(), event(), snapshot(picking=Picking(by))) is chat()) == asked
