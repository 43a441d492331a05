"""What a client asks of a model: the typed result of reading a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from extproc.headers import Headers


class InferenceRequest(msgspec.Struct, frozen=True):
    """One inference request, whatever API it came by."""

    api: str
    """Family of the API, a label value: ``openai``, ``oip``."""
    operation: str
    """What of that API: ``chat.completions``, ``infer``."""
    model: str
    """As the client names it; empty where the API has no name for it (one server, one model)."""
    version: str | None = None
    """Where the API lets a client name one (a path segment in OIP)."""
    stream: bool = False
    """The client wants the answer piece by piece."""
    adapter: str | None = None
    """The LoRA adapter, where the API names it beside the model."""
    max_tokens: int | None = None
    """Upper bound of tokens in the answer, where the client gives one."""
    prompt_bytes: int = 0
    """Bytes of the body in which the prompt stands: what a prompt's length can be estimated from. 0: not known."""


class RequestFields(Protocol):
    """What the body of a request tells; the meanings are those of ``Asked``.

    Decisions rest on the first three: the others may be read when they are asked for.
    """

    @property
    def model(self) -> str:
        """See ``Asked``."""

    @property
    def version(self) -> str | None:
        """See ``Asked``."""

    @property
    def operation(self) -> str:
        """Where the head does not tell it: what is asked of the API."""

    @property
    def stream(self) -> bool:
        """See ``Asked``."""

    @property
    def adapter(self) -> str | None:
        """See ``Asked``."""

    @property
    def max_tokens(self) -> int | None:
        """See ``Asked``."""

    @property
    def prompt_bytes(self) -> int:
        """See ``Asked``."""


class BodyFields(msgspec.Struct, frozen=True):
    """``Told``, all of it known."""

    model: str = ""
    version: str | None = None
    stream: bool = False
    adapter: str | None = None
    max_tokens: int | None = None
    prompt_bytes: int = 0
    operation: str = ""


class BodyEdit(msgspec.Struct, frozen=True):
    """Bytes ``start`` to ``end`` of a body, and what stands there instead."""

    start: int
    end: int
    data: bytes

    def apply(self, body: bytes) -> bytes:
        """The whole body with the change made."""
        return b"%b%b%b" % (body[: self.start], self.data, body[self.end :])


class Reader(Protocol):
    """Reads bodies of one kind."""

    @property
    def early(self) -> bool:
        """A beginning of the body can suffice, since the rest may never end. Such bodies have no content coding."""

    def read(self, body: bytes, headers: Headers) -> RequestFields | int:
        """What the body tells; where it is a beginning that does not suffice (``early`` readers only), the number of
        bytes that ``read`` needs to get on.

        Raises ``Unreadable``, or ``Rejected`` where two readers would read it differently.
        """

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:
        """The change that makes a body that was read name ``model``; None where it names none."""


class Operation(msgspec.Struct, frozen=True):
    """What method, path and headers alone tell of a request."""

    api: str
    name: str
    model: str | None = None
    """None: the body tells, and ``reader`` reads it."""
    version: str | None = None
    stream: bool = False
    reader: Reader | None = None
    rename: Callable[[str], tuple[str, str]] | None = None
    """Where the head names the model: the header to set, and its value, to name another."""
    uploads: bool = False
    """The client sends message after message: the body need never end before the answer."""


def request_for_decision(operation: Operation, told: RequestFields) -> InferenceRequest:
    """A request, as far as a decision rests on it."""
    model, version = operation.model or told.model, operation.version or told.version
    return InferenceRequest(operation.api, told.operation or operation.name, model, version)


def complete_request(operation: Operation, told: RequestFields) -> InferenceRequest:
    """All that is known of it."""
    stream = operation.stream or told.stream
    rest = {"adapter": told.adapter, "max_tokens": told.max_tokens, "prompt_bytes": told.prompt_bytes}
    return msgspec.structs.replace(request_for_decision(operation, told), stream=stream, **rest)
