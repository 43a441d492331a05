"""Calls for what OpenAI's servers keep: none names a model, and none counts as an answer again."""

from __future__ import annotations

import pytest

from extproc import apis
from extproc.apis import azure, openai
from extproc.apis.stored_objects import operation_name, stored_objects
from extproc.headers import Headers


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "responses/{*}", "responses.retrieve"),
        ("DELETE", "responses/{*}", "responses.delete"),
        ("POST", "responses/{*}/cancel", "responses.cancel"),
        ("GET", "responses/{*}/input_items", "responses.input_items.list"),
        ("POST", "conversations", "conversations"),
        ("POST", "conversations/{*}", "conversations.update"),
        ("GET", "files/{*}/content", "files.content"),
        ("GET", "batches", "batches.list"),
        ("POST", "threads/{*}/runs/{*}/submit_tool_outputs", "threads.runs.submit_tool_outputs"),
    ],
)
def test_calls_have_the_names_of_openais_clients(method: str, path: str, name: str) -> None:
    assert operation_name(method, path) == name


@pytest.mark.parametrize(("prefix", "api"), [("/v1/", "openai"), ("/", "openai"), ("/openai/v1/", "azure")])
def test_every_call_is_read_as_its_own(prefix: str, api: str) -> None:
    for row in stored_objects(api, (prefix,)):
        found = apis.classify(row.method, row.path.replace("{*}", "x_1"), Headers())
        assert found is not None
        assert (found.api, found.name, found.model, found.stateful) == (api, row.operation, "", True)


def test_what_is_fetched_again_is_no_answer_of_a_model() -> None:
    kept = {row.operation for row in stored_objects("openai", ("/v1/",))}
    assert kept.isdisjoint(openai.ANSWERS)
    assert kept.isdisjoint(azure.ANSWERS)
