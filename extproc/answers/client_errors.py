"""Errors that an answer of status 200 tells of: whether they are the client's own, which are no failure of the server.

As with statuses: 4xx is the client's, 5xx the server's. Where an error does not say whose it is, it is the server's.
"""

from __future__ import annotations

from typing import Any

_MEMBERS = ("type", "code", "status", "status_code")
"""Of an error object, those that may tell its kind."""
_KINDS = frozenset(
    (
        # OpenAI and those modelled on it; Anthropic has the same words
        *("invalid_request_error", "authentication_error", "permission_error", "not_found_error", "rate_limit_error"),
        *("request_too_large", "invalid_prompt", "invalid_request", "context_length_exceeded", "content_filter"),
        *("rate_limit_exceeded", "insufficient_quota", "billing_error"),
        # vLLM and SGLang: Python's names
        *("BadRequestError", "NotFoundError", "RateLimitError", "ValidationError", "AuthenticationError"),
        "validation",  # TGI
        # Google's APIs: names of google.rpc.Code
        *("CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"),
        *("FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "UNAUTHENTICATED"),
    )
)
_JSON_RPC = frozenset((-32700, -32600, -32601, -32602))
"""Not JSON, no request, no such method, wrong parameters (JSON-RPC 2.0 §5.1)."""
AWS_EXCEPTIONS = frozenset(
    ("validationException", "throttlingException", "accessDeniedException", "resourceNotFoundException")
)
"""Exceptions in an AWS event stream; in services' HTTP answers they have statuses of 4xx."""
GRPC_STATUSES = frozenset(("1", "3", "5", "6", "7", "8", "9", "10", "11", "12", "16"))
"""Statuses that gRPC maps to 4xx (google/rpc/code.proto), and UNIMPLEMENTED: the call has no such method."""


def is_client_error(document: dict[str, Any]) -> bool:
    """Whether the error of a JSON answer, or event, is the client's: by its kind, or by a status of 4xx."""
    response = document.get("response")
    places = (document, document.get("error"), response.get("error") if type(response) is dict else None)
    return any(_tells(place) for place in places if type(place) is dict)


def _tells(error: dict[str, Any]) -> bool:
    for name in _MEMBERS:
        value = error.get(name)
        if type(value) is str:
            if value in _KINDS or (len(value) == 3 and value[0] == "4" and value.isdecimal()):
                return True
        elif type(value) is int and (400 <= value < 500 or value in _JSON_RPC):
            return True
    return False
