"""The table of inference APIs as Markdown, for ``docs/apis.md``."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from extproc.apis import FAMILIES
from extproc.apis.row import ANY_PATH, Row
from extproc.bodies.grpc_message import GrpcJsonReader, GrpcReader
from extproc.bodies.json_reader import JsonReader
from extproc.bodies.multipart import MultipartReader

_HEAD = ("| method, path | operation | model | version | streams | what else the body tells |", "|-|-|-|-|-|-|")


def markdown() -> str:
    """A section for every family: its module's docstring and its rows."""
    return "\n".join(line for family in FAMILIES for line in _family(family)) + "\n"


def _family(family: ModuleType) -> Iterator[str]:
    title, *rest = (family.__doc__ or "").strip().split("\n\n")
    yield f"### {_text(title.rstrip('.'))}"
    yield ""
    for paragraph in rest:
        yield from (_text(paragraph), "")
    yield f"`api`: {', '.join(f'`{api}`' for api in dict.fromkeys(row.api for row in family.ROWS))}"
    yield ""
    yield from _HEAD
    notes: list[str] = []
    lines: dict[tuple[str, ...], list[Row]] = {}
    for row in family.ROWS:
        lines.setdefault((row.note, *_cells(row)), []).append(row)
    for (_, *cells), same in lines.items():
        mark = ""
        if same[0].note:
            if same[0].note not in notes:
                notes.append(same[0].note)
            mark = f" ({notes.index(same[0].note) + 1})"
        paths = "<br>".join(f"`{row.method} {'any path' if row.path == ANY_PATH else row.path}`" for row in same)
        yield f"| {paths}{mark} | " + " | ".join(cells) + " |"
    yield ""
    for number, note in enumerate(notes, 1):
        yield f"({number}) {note}  "
    if notes:
        yield ""


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    """The cells of a row after its path; rows with equal cells share a line."""
    version = "path" if "{version}" in row.path else f"header `{row.version_header}`" if row.version_header else ""
    return f"`{row.operation}`", _model(row), version, _streams(row), _other_fields(row)


def _model(row: Row) -> str:
    match row.names, row.reader:
        case "header", _:
            return f"header `{row.header}`"
        case "query", _:
            return f"query `{row.query}`"
        case "path", _:
            return "path"
        case "", _:
            return "unnamed"
        case _, JsonReader() as reader:
            return f"body `{reader.pointers['model'][0]}`"
        case _, MultipartReader():
            return "form field `model`"
        case _, GrpcJsonReader(inner=reader):
            return f"message, its JSON `{reader.pointers['model'][0]}`"
        case _, GrpcReader():
            return "message"
        case _:
            return "body"


def _json_reader(row: Row) -> JsonReader | None:
    """The reader of the JSON in such requests, if any."""
    reader = row.reader.inner if isinstance(row.reader, GrpcJsonReader) else row.reader
    return reader if isinstance(reader, JsonReader) else None


def _streams(row: Row) -> str:
    if row.stream:
        return "always"
    if (reader := _json_reader(row)) and reader.pointers["stream"]:
        flag = f"`{reader.pointers['stream'][0]}`"
        return f"unless {flag} is false" if reader.streams else flag
    return "form field `stream`" if isinstance(row.reader, MultipartReader) else ""


def _other_fields(row: Row) -> str:
    reader = _json_reader(row)
    if reader is None:
        return ""
    labels = {"prompt": "prompt", "limit": "token limit", "adapter": "adapter"}
    return "; ".join(
        f"{name} " + ", ".join(f"`{pointer}`" for pointer in reader.pointers[key])
        for key, name in labels.items()
        if reader.pointers[key]
    )


def _text(docstring: str) -> str:
    return docstring.replace("``", "`")
