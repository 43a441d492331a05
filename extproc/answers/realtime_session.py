"""The answers within one session of a realtime API: many, some of them at once, over one WebSocket.

Only the server's events are read. An answer begins where the server acknowledges a request for one, and ends where the
server says so; the id in an event says which answer it belongs to. Sources: OpenAI's reference of the Realtime API,
"Server events"; vLLM, ``entrypoints/openai/realtime/protocol.py``.
"""

from __future__ import annotations

import re
from typing import Any

from extproc.answers.answer_reader import AnswerReader
from extproc.answers.client_errors import is_client_error
from extproc.answers.event_inspector import EventInspector
from extproc.answers.wire.decoder import MalformedAnswer
from extproc.answers.wire.lenient_json import MAX_REFUSED, NOT_JSON, loads_leniently, loads_strictly
from extproc.answers.wire.websocket import WebSocketMessages
from extproc.apis.answer_table import SESSIONS
from extproc.headers import Headers

MAX_OPEN = 64
"""Answers that may be open at once in a session; beyond them the oldest is given up."""

_CREATED, _DONE, _COMMITTED = "response.created", "response.done", "input_audio_buffer.committed"
_INPUT_TRANSCRIPT = "conversation.item.input_audio_transcription."
_VLLM = "transcription."
_NO_ID = ""
_MAX_ID = 128
"""Characters of an id; longer ones are cut."""
_SERVER_FAULTS = (1011, 1012, 1013, 1014)
"""Codes of close frames (RFC 6455 §7.4, IANA's registry) that say that the server failed or restarts."""

_TYPE = re.compile(r'\s*\{(?:\s*"\w+"\s*:\s*"[^"]*"\s*,)*?\s*"type"\s*:\s*"([^"]*)"')
_RESPONSE_ID = re.compile(r'"response(?:_id"\s*:|"\s*:\s*\{[^{}]*?"id"\s*:)\s*"([^"]*)"')
_ITEM_ID = re.compile(r'"item_id"\s*:\s*"([^"]*)"')
_STATUS = re.compile(r'"status"\s*:\s*"(\w+)"')
_INSPECTORS = {key: EventInspector(shape) for key, shape in SESSIONS.items()}


class SessionAnswer:
    """One answer of a session. Times are those given to ``RealtimeSession.feed``, in seconds."""

    __slots__ = ("began", "ended", "error", "first_token", "key", "last_event", "last_token", "reader")

    def __init__(self, key: str, reader: AnswerReader, began: float | None) -> None:
        self.key = key
        self.reader = reader
        self.began = began
        """When the server acknowledged the request for it; None where it did not."""
        self.first_token: float | None = None
        """When; None where it has no output."""
        self.last_token: float | None = None
        self.ended: float | None = None
        self.error = ""
        """One of ``exchange.notes.ERRORS``, or empty."""
        self.last_event = b""
        """The event that ended it: JSON; empty where none did, or it was too long to be kept."""


class RealtimeSession:
    """Takes the bytes of the server, as they come."""

    __slots__ = ("_headers", "_inspector", "_open", "_refused", "_transcribes", "_wire", "gone", "malformed")

    def __init__(self, inspector: EventInspector, headers: Headers) -> None:
        """``headers``: of the response that opened it."""
        self.malformed = False
        """It cannot be read further: see ``AnswerReader.malformed``."""
        self.gone: bool | None = None
        """The server has ended the connection without a close frame; None: nothing has come from it yet."""
        self._inspector = inspector
        self._headers = headers
        self._open: dict[str, SessionAnswer] = {}
        self._refused = 0  # events that were no JSON
        self._transcribes = False  # a session that only transcribes its input
        try:
            self._wire = WebSocketMessages(headers.text("sec-websocket-extensions"))
        except MalformedAnswer:
            self._wire = WebSocketMessages()
            self.malformed = True

    @property
    def closed(self) -> str:
        """Why it is closed, as in ``SessionAnswer.error``; empty while no close frame has come."""
        code = self._wire.closed
        return "" if code is None else "cut_short" if code in _SERVER_FAULTS else "client_left"

    @property
    def expanded(self) -> int:
        """See ``AnswerReader``."""
        return self._wire.expanded

    @property
    def events(self) -> int:
        """See ``AnswerReader``."""
        return self._wire.frames

    def feed(self, data: bytes, now: float) -> list[SessionAnswer]:
        """The answers that end with the next bytes."""
        ended: list[SessionAnswer] = []
        if data or self.gone is not None:
            self.gone = not data  # Envoy shows the end of an upgraded connection as an empty piece
        if self.malformed:
            return ended
        try:
            events = self._wire.feed(data)
        except MalformedAnswer:
            self.malformed = True
            return ended
        for head, text, whole in events:
            if whole:
                self._event(text, now, ended)
            else:
                self._long_event(head, text, now, ended)
        return ended

    def leave(self, now: float | None, error: str) -> list[SessionAnswer]:
        """Gives up and returns all open answers, as broken off with ``error``. ``now``: None for an unknown time."""
        found = list(self._open.values())
        self._open.clear()
        for answer in found:
            answer.ended, answer.error = now, error
        return found

    def _event(self, text: bytes, now: float, ended: list[SessionAnswer]) -> None:
        document = loads_strictly(text)
        if document is NOT_JSON and self._refused < MAX_REFUSED:
            document = loads_leniently(text)
            self._refused += document is NOT_JSON
        kind = document.get("type") if type(document) is dict else None
        if type(kind) is not str:
            return
        if kind == "error":
            self._error(document.get("error"), now, ended)
            return
        if kind in ("session.created", "session.updated"):
            self._transcribes = _in(document, "session", "type") == "transcription"
        elif kind.startswith("transcription_session."):
            self._transcribes = True
        answer = self._answer(kind, _id(kind, document), now, ended)
        if answer is not None:
            output = self._inspector.inspect_document(answer.reader.state, kind, document)
            if kind == _DONE:
                _apply_status(answer, _in(document, "response", "status"))
                if answer.reader.state.failed and is_client_error(_in(document, "response", "status_details") or {}):
                    answer.reader.state.failed, answer.reader.state.client_error = False, True
            self._note(answer, output, now, ended)
            answer.last_event = text if answer.reader.state.over else b""

    def _long_event(self, head: str, tail: bytes, now: float, ended: list[SessionAnswer]) -> None:
        """An event that was too long to be kept: ``head`` is its beginning, ``tail`` its end."""
        found = _TYPE.match(head)
        kind = found[1] if found else ""
        named = (_RESPONSE_ID if kind.startswith("response.") else _ITEM_ID).search(head)
        answer = self._answer(kind, named[1][:_MAX_ID] if named else _NO_ID, now, ended)
        if answer is not None:
            output = self._inspector.inspect(answer.reader.state, kind, tail, False)
            if kind == _DONE:
                status = _STATUS.search(head)
                _apply_status(answer, status[1] if status else "")
            self._note(answer, output, now, ended)

    def _answer(self, kind: str, key: str, now: float, ended: list[SessionAnswer]) -> SessionAnswer | None:
        """The answer that an event belongs to, which it may begin; None where it belongs to none."""
        if not kind.startswith(("response.", _INPUT_TRANSCRIPT, _VLLM)) and kind != _COMMITTED:
            return None
        if not kind.startswith(("response.", _VLLM)) and not self._transcribes:
            return None  # the input is transcribed by another model than the one that answers
        answer = self._open.get(key)
        if answer is None and kind in (_CREATED, _COMMITTED):
            answer = self._begin(key, now, ended)
        elif answer is None and (kind == _DONE or not kind.startswith("response.")):
            answer = self._begin(key, None, ended)
        return answer

    def _begin(self, key: str, now: float | None, ended: list[SessionAnswer]) -> SessionAnswer:
        if len(self._open) >= MAX_OPEN:
            oldest = self._open.pop(next(iter(self._open)))
            oldest.error = "cut_short"
            ended.append(oldest)
        answer = self._open[key] = SessionAnswer(key, AnswerReader(self._inspector, self._wire, self._headers), now)
        return answer

    def _note(self, answer: SessionAnswer, output: bool, now: float, ended: list[SessionAnswer]) -> None:
        if output:
            answer.last_token = now
            if answer.first_token is None:
                answer.first_token = now
        if answer.reader.state.over:
            answer.ended = now
            if answer.reader.state.failed:
                answer.error = "error_in_stream"
            elif answer.reader.state.client_error:
                answer.error = "client_error"
            del self._open[answer.key]
            ended.append(answer)

    def _error(self, error: Any, now: float, ended: list[SessionAnswer]) -> None:
        """An error event names no answer: it counts as an answer of its own, unless one is open that will end."""
        if type(error) is dict and is_client_error(error):
            return
        if self._open and _NO_ID not in self._open:
            return
        answer = self._open.get(_NO_ID) or self._begin(_NO_ID, None, ended)
        answer.reader.state.failed = answer.reader.state.over = True
        self._note(answer, False, now, ended)


def realtime_session(api: str, operation: str, headers: Headers) -> RealtimeSession | None:
    """For an upgrade that was granted with these response headers; None where its answers are not read."""
    inspector = _INSPECTORS.get((api, operation))
    return None if inspector is None else RealtimeSession(inspector, headers)


def _apply_status(answer: SessionAnswer, status: Any) -> None:
    """Puts the status of ``response.done`` into the answer."""
    if status == "failed":
        answer.reader.state.failed = True
    elif status == "cancelled":
        answer.error = "client_left"


def _id(kind: str, document: dict[str, Any]) -> str:
    if not kind.startswith("response."):
        found = document.get("item_id")
    elif "response_id" in document:
        found = document["response_id"]
    else:
        found = _in(document, "response", "id")
    return found[:_MAX_ID] if type(found) is str else _NO_ID


def _in(document: dict[str, Any], key: str, name: str) -> Any:
    inner = document.get(key)
    return inner.get(name) if type(inner) is dict else None
