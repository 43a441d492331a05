"""What OpenAI's servers keep between requests, and the calls for it: responses, conversations, files, batches, threads.

None of these calls names a model, so the servers that keep such objects are found by other means (``policy.decision``).
Source: OpenAI's published OpenAPI description.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc.apis.row import Row

_OBJECT = ("GET", "POST", "DELETE")
_CALLS = (
    (("GET", "DELETE"), "responses/{*}"),
    (("POST",), "responses/{*}/cancel"),
    (("GET",), "responses/{*}/input_items"),
    (("GET",), "chat/completions"),
    (_OBJECT, "chat/completions/{*}"),
    (("GET",), "chat/completions/{*}/messages"),
    (("POST",), "conversations"),
    (_OBJECT, "conversations/{*}"),
    (("GET", "POST"), "conversations/{*}/items"),
    (("GET", "DELETE"), "conversations/{*}/items/{*}"),
    (("GET", "POST"), "files"),
    (("GET", "DELETE"), "files/{*}"),
    (("GET",), "files/{*}/content"),
    (("POST",), "uploads"),
    *((("POST",), f"uploads/{{*}}/{action}") for action in ("parts", "complete", "cancel")),
    (("GET", "POST"), "batches"),
    (("GET",), "batches/{*}"),
    (("POST",), "batches/{*}/cancel"),
    (("GET", "POST"), "assistants"),
    (_OBJECT, "assistants/{*}"),
    (("POST",), "threads"),
    (("POST",), "threads/runs"),
    (_OBJECT, "threads/{*}"),
    (("GET", "POST"), "threads/{*}/messages"),
    (_OBJECT, "threads/{*}/messages/{*}"),
    (("GET", "POST"), "threads/{*}/runs"),
    (("GET", "POST"), "threads/{*}/runs/{*}"),
    *((("POST",), f"threads/{{*}}/runs/{{*}}/{action}") for action in ("cancel", "submit_tool_outputs")),
    (("GET",), "threads/{*}/runs/{*}/steps"),
    (("GET",), "threads/{*}/runs/{*}/steps/{*}"),
    *((("POST",), f"realtime/calls/{{*}}/{action}") for action in ("accept", "reject", "refer", "hangup")),
)
_ON_ONE = {"GET": ".retrieve", "POST": ".update", "DELETE": ".delete"}
_NOTES = {
    "conversations": "no model is named: what is kept serves responses of any",
    "batches": "the models are in the file that it names",
}


def operation_name(method: str, path: str) -> str:
    """The call's name, as OpenAI's clients have it: ``responses.retrieve``. Names of calls that ask a model for an
    answer are others', so that what is fetched again does not count again.
    """
    name = ".".join(part for part in path.split("/") if part != "{*}")
    if path.endswith("{*}"):
        return name + _ON_ONE[method]
    return name + (".list" if method == "GET" and not path.endswith("content") else "")


def stored_objects(api: str, prefixes: Sequence[str]) -> Iterator[Row]:
    """The rows of an API that has these calls below ``prefixes``."""
    for methods, path in _CALLS:
        for method in methods:
            name = operation_name(method, path)
            for prefix in prefixes:
                yield Row(
                    method=method,
                    path=f"{prefix}{path}",
                    api=api,
                    operation=name,
                    stateful=True,
                    note=_NOTES.get(name.partition(".")[0], "") if method == "POST" else "",
                )
