"""Lists of models, as APIs give them to clients that ask what is served.

OpenAI's and Anthropic's lists have one path, so one document has the members of both. Source: the API references of
OpenAI, Anthropic ("List Models"), Gemini ("models.list") and Ollama ("List Local Models"); Triton Inference Server's
documentation, "Model Repository Extension".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

_NO_DATE = "1970-01-01T00:00:00Z"
"""When a model was made is not known."""


def _openai(names: Sequence[str]) -> dict[str, Any]:
    also_anthropic = {"type": "model", "created_at": _NO_DATE}
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "aimesh", "display_name": name, **also_anthropic}
        for name in names
    ]
    return {"object": "list", "data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def _gemini(names: Sequence[str]) -> dict[str, Any]:
    return {"models": [{"name": f"models/{name}", "displayName": name} for name in names]}


def _ollama(names: Sequence[str]) -> dict[str, Any]:
    return {"models": [{"name": name, "model": name, "modified_at": _NO_DATE} for name in names]}


def _triton(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name, "version": "", "state": "READY", "reason": ""} for name in names]


LISTS: dict[tuple[str, str], tuple[str, Callable[[Sequence[str]], Any]]] = {
    **{("GET", path): ("openai", _openai) for path in ("/v1/models", "/models", "/v3/models")},
    **{("GET", path): ("azure", _openai) for path in ("/openai/v1/models", "/openai/models")},
    **{("GET", f"/{version}/models"): ("gemini", _gemini) for version in ("v1beta", "v1alpha")},
    ("GET", "/api/tags"): ("ollama", _ollama),
    ("POST", "/v2/repository/index"): ("triton", _triton),
}
"""By method and path: the API, and what makes its document of names, of which there is at least one."""


def list_path(method: str, target: str, prefixes: Sequence[str]) -> str:
    """The path, without its prefix, of a request that asks for a list; empty where it asks for none.

    ``target``: path with its query; ``prefixes``: as in ``apis.classify``.
    """
    path = target.partition("?")[0]
    for prefix in ("", *(prefix for prefix in prefixes if path.startswith(prefix + "/"))):
        rest = path[len(prefix) :].removesuffix("/")
        if (method, rest) in LISTS:
            return rest
    return ""


@lru_cache(maxsize=64)
def model_list(method: str, path: str, names: tuple[str, ...]) -> bytes:
    """The JSON document. ``path``: what ``list_path`` gave; ``names``: at least one."""
    _, document = LISTS[method, path]
    return msgspec.json.encode(document(names))
