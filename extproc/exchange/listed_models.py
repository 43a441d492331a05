"""Answers requests for the list of models: the names that policies own.

Patterns are not names, so models that are owned by a pattern only are not in the list; where no policy has a name, the
request passes on and a model server tells its own.
"""

from __future__ import annotations

from extproc.apis.model_list import LISTS, list_path, model_list
from extproc.envoy.actions import Answer
from extproc.headers import Headers
from extproc.policy.snapshot import Snapshot

_JSON = (("content-type", "application/json"),)


def listed_models(headers: Headers, snapshot: Snapshot) -> Answer | None:
    """The answer to a request without an operation; None where it asks for no list, or there is none."""
    method = headers.text(":method")
    path = list_path(method, headers.text(":path"), snapshot.path_prefixes)
    if not path:
        return None
    names = tuple(match.pattern for match in snapshot.patterns if "*" not in match.pattern)
    if not names:
        return None
    api, _ = LISTS[method, path]
    return Answer("models", _JSON, model_list(method, path, names), (("api", api), ("operation", "models")))
