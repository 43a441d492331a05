"""The typed result of reading a request, and what readers of bodies have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from extproc.headers import Headers


class InferenceRequest:
    """One inference request of any API; immutable."""

    __slots__ = ("adapter", "api", "max_tokens", "model", "operation", "prompt_bytes", "stream", "version")

    def __init__(
        self,
        api: str,
        operation: str,
        model: str,
        version: str | None = None,
        stream: bool = False,
        adapter: str | None = None,
        max_tokens: int | None = None,
        prompt_bytes: int = 0,
    ) -> None:
        self.api = api
        """Family of the API, a label's value: ``openai``, ``oip``."""
        self.operation = operation
        """The call of that API: ``chat.completions``, ``infer``."""
        self.model = model
        """Name of the model, as sent by the client; empty where the API names none (one server, one model)."""
        self.version = version
        """Version of the model, where the API lets the client choose one (a path segment in OIP)."""
        self.stream = stream
        """The client asks for a streamed answer."""
        self.adapter = adapter
        """LoRA adapter, where the API names it apart from the model."""
        self.max_tokens = max_tokens
        """Maximum number of output tokens, where the client sets one."""
        self.prompt_bytes = prompt_bytes
        """Bytes of the prompt in the body, from which its length can be estimated; 0: not known."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InferenceRequest) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"InferenceRequest{self._fields()!r}"

    def asking_for(self, model: str) -> InferenceRequest:
        """The request for another model."""
        return InferenceRequest(self.api, self.operation, model, *self._fields()[3:])

    def _fields(self) -> tuple[Any, ...]:
        asked = self.api, self.operation, self.model, self.version
        return (*asked, self.stream, self.adapter, self.max_tokens, self.prompt_bytes)


class RequestFields(Protocol):
    """The fields of a request's body, named as in ``InferenceRequest``.

    Decisions depend on the first three; the others may be decoded on access.
    """

    @property
    def model(self) -> str:
        """See ``InferenceRequest``."""

    @property
    def version(self) -> str | None:
        """See ``InferenceRequest``."""

    @property
    def operation(self) -> str:
        """See ``InferenceRequest``; empty where the request's head tells the operation."""

    @property
    def stream(self) -> bool:
        """See ``InferenceRequest``."""

    @property
    def adapter(self) -> str | None:
        """See ``InferenceRequest``."""

    @property
    def max_tokens(self) -> int | None:
        """See ``InferenceRequest``."""

    @property
    def prompt_bytes(self) -> int:
        """See ``InferenceRequest``."""

    def prompt_text(self, limit: int) -> bytes:
        """The first ``limit`` bytes of the prompt's parts as they stand in the body, one behind the other; empty where
        the reader does not know them.
        """


class BodyFields(msgspec.Struct, frozen=True):
    """``RequestFields`` as plain values."""

    model: str = ""
    version: str | None = None
    stream: bool = False
    adapter: str | None = None
    max_tokens: int | None = None
    prompt_bytes: int = 0
    operation: str = ""

    def prompt_text(self, limit: int) -> bytes:  # noqa: ARG002 - as in RequestFields
        """Empty: not known."""
        return b""


class BodyEdit(msgspec.Struct, frozen=True):
    """An edit of a body: ``data`` replaces the bytes from ``start`` to ``end``."""

    start: int
    end: int
    data: bytes

    def apply(self, body: bytes) -> bytes:
        """The body after the edit."""
        return b"%b%b%b" % (body[: self.start], self.data, body[self.end :])


class Reader(Protocol):
    """Reads bodies of one kind."""

    @property
    def early(self) -> bool:
        """``read`` may succeed on a prefix of the body, which may never end. Such bodies have no content coding."""

    def read(self, body: bytes, headers: Headers) -> RequestFields | int:
        """The fields of the body. For a prefix that is too short (``early`` readers only), the number of bytes that are
        needed.

        Raises ``Unreadable``, and ``Rejected`` where two servers would read the body differently.
        """

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:
        """The edit after which a body that ``read`` has accepted names ``model``; None where it names no model."""


class Operation:
    """What method, path and headers tell of a request; immutable."""

    __slots__ = (
        *("any_path", "api", "model", "name", "reader", "rename", "shared", "stateful", "stream", "uploads"),
        "version",
    )

    def __init__(
        self,
        api: str,
        name: str,
        model: str | None = None,
        version: str | None = None,
        stream: bool = False,
        reader: Reader | None = None,
        rename: Callable[[str], tuple[str, str]] | None = None,
        uploads: bool = False,
        shared: bool = False,
        stateful: bool = False,
        any_path: bool = False,
    ) -> None:
        self.api, self.name, self.version, self.stream = api, name, version, stream
        self.model = model
        """None: ``reader`` finds it in the body."""
        self.reader = reader
        self.rename = rename
        """Where the head names the model: gives the header to set, and its value, for another model."""
        self.uploads = uploads
        """The client may send messages for as long as it likes: the body need not end before the answer."""
        self.shared = shared
        """Much else has this path, too: what ``reader`` can't read is no request of this API."""
        self.stateful = stateful
        """The server keeps what the request makes, or the request asks for what it keeps."""
        self.any_path = any_path
        """Only a header tells the API: the path may be any."""

    def naming(self, model: str) -> Operation:
        """The operation whose model is known without the body."""
        head, tail = (self.api, self.name, model, self.version), (self.uploads, self.shared, self.stateful)
        return Operation(*head, self.stream, None, self.rename, *tail, self.any_path)


def request_for_decision(operation: Operation, fields: RequestFields) -> InferenceRequest:
    """The request with the fields that a decision depends on."""
    model, version = operation.model or fields.model, operation.version or fields.version
    return InferenceRequest(operation.api, fields.operation or operation.name, model, version)


def complete_request(operation: Operation, fields: RequestFields) -> InferenceRequest:
    """The request with all fields."""
    asked, stream = request_for_decision(operation, fields), operation.stream or fields.stream
    head = asked.api, asked.operation, asked.model, asked.version
    return InferenceRequest(*head, stream, fields.adapter, fields.max_tokens, fields.prompt_bytes)
