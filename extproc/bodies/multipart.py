"""Reads fields of multipart/form-data bodies in place, without copying files.

Source: RFC 7578, RFC 2046 §5.1. Servers (python-multipart under Starlette, Werkzeug, Go's mime/multipart) agree on
bodies that follow these RFCs, and differ on others. A gateway that reads one ``model`` where the server reads another
would route one model and serve another, so whatever servers could differ on is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from extproc.bodies.ambiguous_keys import check_names, is_key
from extproc.bodies.json_reader import MAX_MODEL_LENGTH
from extproc.bodies.request import BodyEdit, BodyFields
from extproc.errors import Unreadable
from extproc.headers import Headers

MAX_PARTS = 128
"""Fields and files of one form. No inference API has as many."""
MAX_BOUNDARIES = 2000
"""Occurrences of the boundary, those within a line included."""
MAX_HEADER_BYTES, MAX_ALL_HEADER_BYTES = 16_384, 65_536
"""Bytes of the headers of one part, and of all parts."""
MAX_LINES = 512
"""Header lines of all parts."""
MAX_PARAMETERS = 8
"""Parameters of one header."""
MAX_TYPE = 1024
"""Characters of the request's ``content-type``."""
MAX_NAME = 256
"""Characters of a field's name before escapes are resolved."""

_DELIMITER_END = re.compile(rb"(--)?[ \t]*(\r\n|\Z)")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_CONTROL = re.compile(rb"[\r\n\0]")
# Possessive quantifiers: no backtracking.
_PARAMETER = re.compile(r';[ \t]*+([!#$%&\'*+\-.^_`|~0-9A-Za-z]++)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s;"]*+)[ \t]*+')
_ESCAPE = re.compile(r'\\([\\"])')
_AMBIGUOUS_ESCAPE = re.compile(r'(?:^|[^\\])(?:\\\\)*\\(?:[^\\"]|$)')
"""A backslash before another character than ``\\`` or ``"``: some servers keep it, some drop it."""
_TRUE_VALUES = frozenset((b"true", b"1", b"yes", b"on", b"y", b"t"))
_UTF8_CHARSETS = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_IDENTITY_ENCODINGS = frozenset((b"7bit", b"8bit", b"binary"))


class _Part(msgspec.Struct, frozen=True):
    """A part of the form: its name, and the offsets of its content."""

    name: str
    start: int
    end: int
    plain: bool
    """Every server reads the same value: it is no file, has no transfer encoding and no charset but UTF-8."""


class MultipartReader:
    """Reads one form: the names of the fields for the model, the streaming flag, and the prompt."""

    early = False

    def __init__(self, *, model: str = "model", stream: str = "stream", prompt: Sequence[str] = ("prompt",)) -> None:
        self._model = model
        self._stream = stream
        self._prompt = prompt

    def read(self, body: bytes, headers: Headers) -> BodyFields:
        """The fields of the form.

        Raises ``Unreadable`` (``content_type``, ``no_body``, ``bad_multipart``, ``no_model``, ``bad_model``), and
        ``Rejected`` (400) where servers would differ on which part is the model: two have its name, or one has it in
        another case (Go's Echo and Fiber compare names of fields without regard to case).
        """
        model, stream, prompt = "", False, 0
        part, names = None, list[str]()
        for found in _parts(body, headers):
            if is_key(found.name, self._model):
                names.append(found.name)
                part = found
            elif found.name == self._stream:
                stream = found.plain and body[found.start : min(found.end, found.start + 8)].lower() in _TRUE_VALUES
            elif found.name in self._prompt:
                prompt += found.end - found.start
        check_names(names, self._model, "field")
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
        """The edit that replaces the value of the model; ``read`` must have accepted the form."""
        part = next(part for part in _parts(body, headers) if part.name == self._model)
        return BodyEdit(part.start, part.end, model.encode())


def _parts(body: bytes, headers: Headers) -> Iterator[_Part]:
    """The parts that have a name, in order. The body is searched once, for the boundary."""
    content_type = headers.text("content-type")
    kind, parameters = (len(content_type) <= MAX_TYPE and _parse_header(content_type)) or ("", {})
    if kind != "multipart/form-data" or len(headers.all("content-type")) > 1:
        raise Unreadable("content_type")
    if not body:
        raise Unreadable("no_body")
    dashed = b"--" + parameters.get("boundary", "").encode("latin-1")
    if not 2 < len(dashed) <= 72:
        raise Unreadable("bad_multipart")
    charset = parameters.get("charset", "utf-8").lower() in _UTF8_CHARSETS
    start = -1  # offset of the headers of the open part; -1 in the preamble and after the last part
    parts, lines, room = MAX_PARTS, MAX_LINES, MAX_ALL_HEADER_BYTES
    for before, after, last in _delimiters(body, dashed):
        if start >= 0:
            blank = body.find(b"\r\n\r\n", start, min(before, start + MAX_HEADER_BYTES))
            parts -= 1
            room -= blank - start
            # Without headers, some servers take the next lines for headers.
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

    Before the first one there is no content: its end is negative where the body begins with it.

    Raises ``Unreadable("bad_multipart")`` where servers differ: line ends that are a bare LF or CR, text after a
    boundary, a boundary after the last one or within a line of the preamble.
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
            yield at - 2, end.end(), last
            following = end.start(2)  # this line end may belong to the next delimiter
        elif before[-1] in b"\r\n" or seen == 1 or seen > MAX_BOUNDARIES:
            raise Unreadable("bad_multipart")
        at = body.find(dashed, following)
    if not last:
        raise Unreadable("bad_multipart")


def _part(lines: Sequence[bytes], start: int, end: int, *, charset: bool) -> _Part | None:
    """The part with these headers and the content from ``start`` to ``end``; None where it has no name: no server reads
    such a part.
    """
    head: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        # Folded lines, control characters and repeated headers are read by some servers only.
        if not _TOKEN.fullmatch(name) or _CONTROL.search(value) or name in head:
            raise Unreadable("bad_multipart")
        head[name] = value.strip(b" \t")
    disposition = _parse_header(head.get(b"content-disposition", b"").decode("latin-1"))
    kind = _parse_header(head.get(b"content-type", b"").decode("latin-1"))
    if disposition is None:
        raise Unreadable("bad_multipart")
    field = disposition[1].get("name", "")
    if len(field) > MAX_NAME or _AMBIGUOUS_ESCAPE.search(field):
        raise Unreadable("bad_multipart")
    if "name" not in disposition[1]:
        return None
    if disposition[0] != "form-data":  # some servers read it as a field
        raise Unreadable("bad_multipart")
    plain = (
        charset
        and kind is not None
        and kind[1].get("charset", "utf-8").lower() in _UTF8_CHARSETS
        and head.get(b"content-transfer-encoding", b"binary").lower() in _IDENTITY_ENCODINGS
        and not disposition[1].keys() & {"filename", "filename*"}
    )
    return _Part(_ESCAPE.sub(r"\1", field), start, end, plain)


def _parse_header(value: str) -> tuple[str, dict[str, str]] | None:
    """(first item of a header's value, its parameters); names in lower case, escapes not resolved.

    None where there are more than ``MAX_PARAMETERS``, or where servers would differ: on repeated parameters, and on
    those of RFC 2231, which RFC 7578 §4.2 forbids and some servers read (``filename*`` is common and marks a file:
    allowed).
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
