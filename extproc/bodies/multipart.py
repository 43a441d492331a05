"""Reads form fields of multipart/form-data bodies where they stand, without copying files.

Source: RFC 7578, RFC 2046 §5.1. Servers (python-multipart under Starlette, Werkzeug, Go's mime/multipart) agree on
bodies that keep to these. Of the rest each reads something else, and a gateway that reads one ``model`` where the
server reads another would route one model and serve another: whatever they could differ on is not read here at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from extproc.bodies.json_reader import MAX_MODEL_LENGTH
from extproc.bodies.json_scan import check, is_key
from extproc.bodies.request import BodyEdit, BodyFields
from extproc.errors import Unreadable
from extproc.headers import Headers

MAX_PARTS = 128
"""Fields and files together: no inference API has as many."""
MAX_BOUNDARIES = 2000
"""Of those that are found within a line, too, where they are none."""
MAX_HEAD, MAX_HEADS = 16_384, 65_536
"""Bytes of the headers of one part, and of all."""
MAX_LINES = 512
"""Of the headers of all parts."""
MAX_PARAMETERS = 8
"""Of one header."""
MAX_TYPE = 1024
"""Characters of the request's content type."""
MAX_NAME = 256
"""Characters of a field's name as it is written: a longer one is bad, however its escapes are read."""

_DELIMITER_END = re.compile(rb"(--)?[ \t]*(\r\n|\Z)")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BROKEN = re.compile(rb"[\r\n\0]")
# Nothing is tried twice: possessive throughout.
_PARAMETER = re.compile(r';[ \t]*+([!#$%&\'*+\-.^_`|~0-9A-Za-z]++)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s;"]*+)[ \t]*+')
_ESCAPE = re.compile(r'\\([\\"])')
_SERVERS_DIFFER = re.compile(r'(?:^|[^\\])(?:\\\\)*\\(?:[^\\"]|$)')
"""A backslash that escapes nothing: to some it is a character, to some it is not there."""
_YES = frozenset((b"true", b"1", b"yes", b"on", b"y", b"t"))
_ASCII_LIKE = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_AS_IT_STANDS = frozenset((b"7bit", b"8bit", b"binary"))


class _Part(msgspec.Struct, frozen=True):
    """A part of the form: its name, and where its content is."""

    name: str
    start: int
    end: int
    plain: bool
    """Its content is a value as every server reads it: no file, no transfer encoding, no charset but UTF-8."""


class MultipartReader:
    """One form: its field for the model, its flag for streams, fields whose bytes are the prompt."""

    early = False

    def __init__(self, *, model: str = "model", stream: str = "stream", prompt: Sequence[str] = ("prompt",)) -> None:
        self._model = model
        self._stream = stream
        self._prompt = prompt

    def read(self, body: bytes, headers: Headers) -> BodyFields:
        """What the form tells.

        Raises ``Unreadable`` (``content_type``, ``no_body``, ``bad_multipart``, ``no_model``, ``bad_model``), and
        ``Rejected`` (400) where servers would differ on which part is the model's field: two have its name, or one has
        it in other letters (Go's Echo and Fiber bind forms without regard to case).
        """
        model, stream, prompt = "", False, 0
        part, names = None, list[str]()
        for found in _parts(body, headers):
            if is_key(found.name, self._model):
                names.append(found.name)
                part = found
            elif found.name == self._stream:
                stream = found.plain and body[found.start : min(found.end, found.start + 8)].lower() in _YES
            elif found.name in self._prompt:
                prompt += found.end - found.start
        check(names, self._model, "field")
        if part is None:
            raise Unreadable("no_model")
        if not part.plain or part.end - part.start > 4 * MAX_MODEL_LENGTH:
            raise Unreadable("bad_model")
        try:
            model = body[part.start : part.end].decode()
        except UnicodeDecodeError:
            raise Unreadable("bad_model") from None
        if not 0 < len(model) <= MAX_MODEL_LENGTH:
            raise Unreadable("bad_model")
        return BodyFields(model, None, stream, None, None, prompt)

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:
        """The change that puts ``model`` in place of the model's value; ``read`` must have passed."""
        part = next(part for part in _parts(body, headers) if part.name == self._model)
        return BodyEdit(part.start, part.end, model.encode())


def _parts(body: bytes, headers: Headers) -> Iterator[_Part]:
    """The parts that have a name, in order. The body is searched once, for its boundary."""
    content_type = headers.text("content-type")
    kind, parameters = (len(content_type) <= MAX_TYPE and _parsed(content_type)) or ("", {})
    if kind != "multipart/form-data" or len(headers.all("content-type")) > 1:
        raise Unreadable("content_type")
    if not body:
        raise Unreadable("no_body")
    dashed = b"--" + parameters.get("boundary", "").encode("latin-1")
    if not 2 < len(dashed) <= 72:
        raise Unreadable("bad_multipart")
    charset = parameters.get("charset", "utf-8").lower() in _ASCII_LIKE
    start = -1  # of the part's head; none is open in the preamble, and after the last
    parts, lines, room = MAX_PARTS, MAX_LINES, MAX_HEADS
    for before, after, last in _delimiters(body, dashed):
        if start >= 0:
            blank = body.find(b"\r\n\r\n", start, min(before, start + MAX_HEAD))
            parts -= 1
            room -= blank - start
            # No headers at all: some take the next lines for them.
            if blank < 0 or body.startswith(b"\r\n", start) or parts < 0 or room < 0:
                raise Unreadable("bad_multipart")
            head = body[start:blank].split(b"\r\n", lines + 1)
            lines -= len(head)
            if lines < 0:
                raise Unreadable("bad_multipart")
            if (part := _part(head, blank + 4, before, charset=charset)) is not None:
                yield part
        start = -1 if last else after


def _delimiters(body: bytes, dashed: bytes) -> Iterator[tuple[int, int, bool]]:
    """(end of the content before it, start of the line after it, whether it ends the form) of every delimiter.

    Lines that end in a bare LF or CR are line ends to some servers only. Text behind a boundary, a boundary behind the
    last one, or one within a line of the preamble is read by some only. All bad.
    """
    seen, last, at = 0, False, body.find(dashed)
    while at >= 0:
        seen += 1
        following = at + len(dashed)
        before = body[max(at - 2, 0) : at]
        if before in (b"", b"\r\n"):
            end = _DELIMITER_END.match(body, following)
            if end is None or last or seen > MAX_BOUNDARIES:
                raise Unreadable("bad_multipart")
            last = end[1] is not None
            yield max(at - 2, 0), end.end(), last
            following = end.start(2)  # this line's end may be the next delimiter's
        elif before[-1] in b"\r\n" or seen == 1 or seen > MAX_BOUNDARIES:
            raise Unreadable("bad_multipart")
        at = body.find(dashed, following)
    if not last:
        raise Unreadable("bad_multipart")


def _part(lines: Sequence[bytes], start: int, end: int, *, charset: bool) -> _Part | None:
    """The part with these headers and the content from ``start`` to ``end``; None where it has no name, which no server
    takes for a field.
    """
    head: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        # A folded line, or one that only some take for one, and what is said twice.
        if not _TOKEN.fullmatch(name) or _BROKEN.search(value) or name in head:
            raise Unreadable("bad_multipart")
        head[name] = value.strip(b" \t")
    disposition = _parsed(head.get(b"content-disposition", b"").decode("latin-1"))
    kind = _parsed(head.get(b"content-type", b"").decode("latin-1"))
    if disposition is None:
        raise Unreadable("bad_multipart")
    field = disposition[1].get("name", "")
    if len(field) > MAX_NAME or _SERVERS_DIFFER.search(field):
        raise Unreadable("bad_multipart")
    if "name" not in disposition[1]:
        return None
    if disposition[0] != "form-data":  # to some servers a field like any other
        raise Unreadable("bad_multipart")
    plain = (
        charset
        and kind is not None
        and kind[1].get("charset", "utf-8").lower() in _ASCII_LIKE
        and head.get(b"content-transfer-encoding", b"binary").lower() in _AS_IT_STANDS
        and not disposition[1].keys() & {"filename", "filename*"}
    )
    return _Part(_ESCAPE.sub(r"\1", field), start, end, plain)


def _parsed(value: str) -> tuple[str, dict[str, str]] | None:
    """(what stands first in a header's value, its parameters), names in lower case; escapes in quotes stay.

    None where there are more than ``MAX_PARAMETERS``, or where servers would read it differently: parameters that stand
    twice, or in the form of RFC 2231, which RFC 7578 §4.2 forbids and some read nevertheless (``filename*`` is common,
    and only ever marks a file).
    """
    kind, semicolon, rest = value.partition(";")
    parameters: dict[str, str] = {}
    at, rest = 0, (semicolon + rest).rstrip("; \t")
    while at < len(rest):
        if len(parameters) == MAX_PARAMETERS:
            return None
        found = _PARAMETER.match(rest, at)
        key = found[1].lower() if found else ""
        if found is None or key in parameters or ("*" in key and not key.startswith("filename*")):
            return None
        parameters[key] = found[2][1:-1] if found[2][:1] == '"' else found[2]
        at = found.end()
    return kind.strip().lower(), parameters
