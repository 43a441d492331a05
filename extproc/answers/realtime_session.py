"""The answers within one session of a realtime API: many, some of them at once, over one WebSocket.

Only what the server says is looked at. An answer begins where the
server acknowledges that it was asked for one, and ends where it says so; the id that it gives tells whose an event is.
Sources: OpenAI's reference of the Realtime API, "Server events"; vLLM, ``entrypoints/openai/realtime/protocol.py``.
"""

from __future__ import annotations

import re
from typing import Any

from extproc.answers.answer_reader import AnswerReader
from extproc.answers.event_inspector import EventInspector
from extproc.answers.shapes import SESSIONS
from extproc.answers.wire.decoder import Broken
from extproc.answers.wire.lenient_json import loads
from extproc.answers.wire.websocket import WebSocket
from extproc.headers import Headers

OPEN = 64
"""Answers that may be open at once; the oldest of more is given up."""

_CREATED, _DONE, _COMMITTED = "response.created", "response.done", "input_audio_buffer.committed"
_HEARD = "conversation.item.input_audio_transcription."
_VLLM = "transcription."
_NO_ID = ""
_LONGEST = 128
"""Characters of an id."""
_SERVER_FAULTS = (1011, 1012, 1013, 1014)
"""Codes of close frames (RFC 6455 §7.4, IANA's registry) that are no server's reply to its client's goodbye."""

_TYPE = re.compile(r'\s*\{(?:\s*"\w+"\s*:\s*"[^"]*"\s*,)*?\s*"type"\s*:\s*"([^"]*)"')
_RESPONSE_ID = re.compile(r'"response(?:_id"\s*:|"\s*:\s*\{[^{}]*?"id"\s*:)\s*"([^"]*)"')
_ITEM_ID = re.compile(r'"item_id"\s*:\s*"([^"]*)"')
_STATUS = re.compile(r'"status"\s*:\s*"(\w+)"')
_LOOKS = {key: EventInspector(shape) for key, shape in SESSIONS.items()}


class SessionAnswer:
    """One of a session's. Times are as they were given to ``Session``."""

    __slots__ = ("began", "end", "ended", "error", "first", "key", "last", "reading")

    def __init__(self, key: str, reading: AnswerReader, began: float | None) -> None:
        self.key = key
        self.reading = reading
        self.began = began
        """When the server acknowledged it; None: it never did."""
        self.first: float | None = None
        """The first token; the last one is ``last``."""
        self.last: float | None = None
        self.ended: float | None = None
        self.error = ""
        """See ``actions.ERRORS``."""
        self.end = b""
        """The event that ended it, where one did and it is whole."""


class RealtimeSession:
    """Takes what the server says, as it comes."""

    __slots__ = ("_headers", "_look", "_open", "_transcribes", "_wire", "broken", "gone")

    def __init__(self, look: EventInspector, headers: Headers) -> None:
        """``headers``: of the response that opened it."""
        self.broken = False
        """It can't be read on."""
        self.gone: bool | None = None
        """The server has ended the connection, without a goodbye; None: it has not said anything yet."""
        self._look = look
        self._headers = headers
        self._open: dict[str, SessionAnswer] = {}
        self._transcribes = False  # what it hears, and that is all it does
        try:
            self._wire = WebSocket(headers.text("sec-websocket-extensions"))
        except Broken:
            self._wire = WebSocket()
            self.broken = True

    @property
    def closed(self) -> str:
        """How the server has closed it, in the words of ``Answer.error``; empty while it is open."""
        code = self._wire.closed
        return "" if code is None else "cut_short" if code in _SERVER_FAULTS else "client_left"

    def feed(self, data: bytes, now: float) -> list[SessionAnswer]:
        """The answers that end with the next bytes."""
        ended: list[SessionAnswer] = []
        if data or self.gone is not None:
            self.gone = not data  # so Envoy shows the end of what was upgraded: as a piece that is empty
        if self.broken:
            return ended
        try:
            events = self._wire.feed(data)
        except Broken:
            self.broken = True
            return ended
        for head, text, whole in events:
            if whole:
                self._event(text, now, ended)
            else:
                self._long_event(head, text, now, ended)
        return ended

    def leave(self, now: float | None, error: str) -> list[SessionAnswer]:
        """Gives up all that are open, as broken off with ``error``. ``now``: None where it is not known when."""
        found = list(self._open.values())
        self._open.clear()
        for answer in found:
            answer.ended, answer.error = now, error
        return found

    def _event(self, text: bytes, now: float, ended: list[SessionAnswer]) -> None:
        document = loads(text)
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
            output = self._look.document(answer.reading.told, kind, document)
            if kind == _DONE:
                _judge(answer, _in(document, "response", "status"))
            self._note(answer, output, now, ended)
            answer.end = text if answer.reading.told.over else b""

    def _long_event(self, head: str, tail: bytes, now: float, ended: list[SessionAnswer]) -> None:
        """Of which only the beginning and the end were kept."""
        found = _TYPE.match(head)
        kind = found[1] if found else ""
        named = (_RESPONSE_ID if kind.startswith("response.") else _ITEM_ID).search(head)
        answer = self._answer(kind, named[1][:_LONGEST] if named else _NO_ID, now, ended)
        if answer is not None:
            output = self._look.event(answer.reading.told, kind, tail, False)
            if kind == _DONE:
                status = _STATUS.search(head)
                _judge(answer, status[1] if status else "")
            self._note(answer, output, now, ended)

    def _answer(self, kind: str, key: str, now: float, ended: list[SessionAnswer]) -> SessionAnswer | None:
        """Whose event it is; None: no answer's."""
        if not kind.startswith(("response.", _HEARD, _VLLM)) and kind != _COMMITTED:
            return None
        if not kind.startswith(("response.", _VLLM)) and not self._transcribes:
            return None  # what was heard is the work of another model
        answer = self._open.get(key)
        if answer is None and kind in (_CREATED, _COMMITTED):
            answer = self._begin(key, now, ended)
        elif answer is None and (kind == _DONE or not kind.startswith("response.")):
            answer = self._begin(key, None, ended)
        return answer

    def _begin(self, key: str, now: float | None, ended: list[SessionAnswer]) -> SessionAnswer:
        if len(self._open) >= OPEN:
            oldest = self._open.pop(next(iter(self._open)))
            oldest.error = "cut_short"
            ended.append(oldest)
        answer = self._open[key] = SessionAnswer(key, AnswerReader(self._look, self._wire, self._headers), now)
        return answer

    def _note(self, answer: SessionAnswer, output: bool, now: float, ended: list[SessionAnswer]) -> None:
        if output:
            answer.last = now
            if answer.first is None:
                answer.first = now
        if answer.reading.told.over:
            answer.ended = now
            if answer.reading.told.failed:
                answer.error = "error_in_stream"
            del self._open[answer.key]
            ended.append(answer)

    def _error(self, error: Any, now: float, ended: list[SessionAnswer]) -> None:
        """An error of no answer's own: of a request that got none, unless one is open that will tell how it ended."""
        if type(error) is dict and error.get("type") == "invalid_request_error":
            return
        if self._open and _NO_ID not in self._open:
            return
        answer = self._open.get(_NO_ID) or self._begin(_NO_ID, None, ended)
        answer.reading.told.failed = answer.reading.told.over = True
        self._note(answer, False, now, ended)


def realtime_session(api: str, operation: str, headers: Headers) -> RealtimeSession | None:
    """For what follows an upgrade that was granted with these headers; None where it can tell nothing."""
    look = _LOOKS.get((api, operation))
    return None if look is None else RealtimeSession(look, headers)


def _judge(answer: SessionAnswer, status: Any) -> None:
    """How an answer has ended that has ended."""
    if status == "failed":
        answer.reading.told.failed = True
    elif status == "cancelled":
        answer.error = "client_left"


def _id(kind: str, document: dict[str, Any]) -> str:
    if not kind.startswith("response."):
        found = document.get("item_id")
    elif "response_id" in document:
        found = document["response_id"]
    else:
        found = _in(document, "response", "id")
    return found[:_LONGEST] if type(found) is str else _NO_ID


def _in(document: dict[str, Any], key: str, name: str) -> Any:
    inner = document.get(key)
    return inner.get(name) if type(inner) is dict else None
