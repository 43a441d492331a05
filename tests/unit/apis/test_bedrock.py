"""Amazon Bedrock's requests, after its API reference."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret

CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.meta.llama3-1-8b-instruct-v1:0"
BODY = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 9}}


@pytest.mark.parametrize(
    ("action", "stream"),
    [
        ("invoke", False),
        ("invoke-with-response-stream", True),
        ("invoke-with-bidirectional-stream", True),
        ("converse", False),
        ("converse-stream", True),
        ("count-tokens", False),
    ],
)
@pytest.mark.parametrize(
    ("segment", "model"),
    [
        (CLAUDE, CLAUDE),
        ("anthropic.claude-3-5-sonnet-20240620-v1%3A0", CLAUDE),
        (PROFILE.replace(":", "%3A").replace("/", "%2F"), PROFILE),
        (PROFILE.replace("/", "%2f"), PROFILE),
    ],
)
def test_asks_for(segment: str, model: str, action: str, stream: bool) -> None:
    line = f"POST /model/{segment}/{action}"
    assert interpret(line, BODY, {"x-amzn-bedrock-service-tier": "priority"}) == InferenceRequest(
        "bedrock", action, model, stream=stream
    )
    assert head_suffices(line)


@pytest.mark.parametrize(
    "line",
    [
        f"GET /model/{CLAUDE}/invoke",
        f"POST /model/{CLAUDE}/invocations",
        f"POST /models/{CLAUDE}/converse",
        "POST /model//converse",
        f"POST /model/{PROFILE}/invoke",  # a slash that is not encoded
        f"POST /model/{CLAUDE}",
        "POST /guardrail/g1/version/1/apply",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, BODY) == "no_api"
