"""Forms: where the model's field is, what servers would read differently, and time that is never quadratic."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.multipart import MultipartReader
from extproc.bodies.request import BodyFields
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers
from tests.fuzz.steps import steps

READER = MultipartReader()
FORM = "multipart/form-data; boundary=B"
FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n%b\r\n'
END = b"--B--\r\n"


def field(name: str, value: bytes | str, *lines: str, boundary: str = "B") -> bytes:
    """One part; ``lines``: more of its headers."""
    content = value if isinstance(value, bytes) else value.encode()
    head = "".join(line + "\r\n" for line in (f'Content-Disposition: form-data; name="{name}"', *lines))
    return f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"


def read(body: bytes, kind: str = FORM, reader: MultipartReader = READER) -> BodyFields:
    return reader.read(body, Headers.of([("content-type", kind)]))


def refused(body: bytes, kind: str = FORM) -> str:
    """Why it is not read: the reason of ``Unreadable``, or the code of ``Rejected``."""
    try:
        found = read(body, kind)
    except Unreadable as unreadable:
        return unreadable.reason
    except Rejected as rejected:
        return rejected.code
    raise AssertionError(found)


MODEL = field("model", "whisper-1")
WHOLE = MODEL + END


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (WHOLE, BodyFields("whisper-1")),
        (MODEL + b"--B--", BodyFields("whisper-1")),
        (field("stream", "true") + WHOLE, BodyFields("whisper-1", stream=True)),
        (field("stream", "1") + WHOLE, BodyFields("whisper-1", stream=True)),
        (MODEL + field("stream", "False") + END, BodyFields("whisper-1")),
        (MODEL + field("prompt", "héllo") + END, BodyFields("whisper-1", prompt_bytes=6)),
        (FILE % b"RIFF\r\n--A\r\n--b\r\n\0\xff\r\n" + WHOLE, BodyFields("whisper-1")),
        (FILE % b"mid-line --B is data, -----B too" + WHOLE, BodyFields("whisper-1")),
        (b"a preamble\r\n" + WHOLE, BodyFields("whisper-1")),
        (b"\r\n" + WHOLE, BodyFields("whisper-1")),
        (WHOLE + b"an epilogue", BodyFields("whisper-1")),
        (b"--B \t\r\n" + MODEL[5:] + b"--B-- \r\n", BodyFields("whisper-1")),
        (field("model", "Systran/faster-whisper:é") + END, BodyFields("Systran/faster-whisper:é")),
        (field("model", "a\r\nb") + END, BodyFields("a\r\nb")),
        (field("model", "m" * 256) + END, BodyFields("m" * 256)),
        (field("model", "😀" * 256) + END, BodyFields("😀" * 256)),
        (field("model", "m", "Content-Type: text/plain; charset=UTF-8") + END, BodyFields("m")),
        (field("model", "m", "Content-Transfer-Encoding: 8bit", "X-Other: y") + END, BodyFields("m")),
        (b"--B\r\nX: y\r\n\r\nno name\r\n" + WHOLE, BodyFields("whisper-1")),
        (b"--B\r\nContent-Disposition: attachment; filename=model\r\n\r\nx\r\n" + WHOLE, BodyFields("whisper-1")),
        (field("xModel", "x") + field("models", "y") + WHOLE, BodyFields("whisper-1")),
        (field('mo\\"del', "x") + WHOLE, BodyFields("whisper-1")),
        (field("m%6fdel", "x") + WHOLE, BodyFields("whisper-1")),
    ],
)
def test_reads(body: bytes, expected: BodyFields) -> None:
    assert read(body) == expected


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data; name=model",
        "form-data;name=model",
        'form-data ; name="model" ; ',
        'FORM-DATA; NAME="model"',
        'form-data; foo=bar; name="model"',
    ],
)
def test_the_name_however_servers_read_it(disposition: str) -> None:
    assert read(f"--B\r\ncontent-DISPOSITION:{disposition}\r\n\r\nm\r\n--B--".encode()).model == "m"


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data; name*=utf-8''model",
        "form-data; name*0=mo; name*1=del",
        "form-data; name=x; name*=utf-8''model",
        'form-data; name="x"; name="model"',
        'form-data; name="mod\\el"',
        'form-data; name="model',
        'form-data; name="model"x',
        "form-data; name",
        'form-data; name="x"; fi\\lename="f; name=model"',
        "form-data; name='model'; =",
        'form-data; name="model"\r\nContent-Disposition: form-data; name="x"',
        'form-data;\r\n name="model"',
        'form-data; name="model"\nX: y',
    ],
)
def test_a_name_that_servers_read_differently_is_not_read(disposition: str) -> None:
    body = f"--B\r\nContent-Disposition: {disposition}\r\n\r\nm\r\n--B--".encode()
    assert refused(body) == "bad_multipart"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("model", "Model"), "duplicate_model"),
        (("MODEL", "model"), "duplicate_model"),
        (("Model", "mODEL"), "duplicate_model"),
        (("Model",), "ambiguous_model"),
    ],
)
def test_a_name_that_some_servers_take_for_the_models_is_refused(names: tuple[str, ...], code: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(b"".join(field(name, "m") for name in names) + END)
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data; boundary=%s",
        'Multipart/Form-Data;charset=utf-8; BOUNDARY="%s"',
        'multipart/form-data; boundary="%s"; charset="UTF-8";',
    ],
)
@pytest.mark.parametrize("boundary", ["B", "'()+_,-./:=?B", "-" * 27 + "1234", "b" * 70])
def test_every_boundary_that_the_standard_allows(kind: str, boundary: str) -> None:
    body = field("model", "m", boundary=boundary) + f"--{boundary}--\r\n".encode()
    assert read(body, kind % boundary).model == "m"


def test_a_boundary_with_spaces_stands_in_quotes() -> None:
    assert read(field("model", "m", boundary="a b") + b"--a b--", 'multipart/form-data; boundary="a b"').model == "m"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("application/json", "content_type"),
        ("", "content_type"),
        ("multipart/mixed; boundary=B", "content_type"),
        ("multipart/form-data; boundary=B; boundary=B", "content_type"),
        ("multipart/form-data; boundary*=utf-8''B", "content_type"),
        ('multipart/form-data; boundary="B', "content_type"),
        ("multipart/form-data, multipart/form-data; boundary=B", "content_type"),
        ("multipart/form-data", "bad_multipart"),
        ("multipart/form-data; boundary=", "bad_multipart"),
        ("multipart/form-data; boundary=" + "B" * 71, "bad_multipart"),
        ('multipart/form-data; boundary=""', "bad_multipart"),
        ("multipart/form-data; boundary=C", "bad_multipart"),
        ("multipart/form-data; boundary=B; charset=utf-16", "bad_model"),
    ],
)
def test_a_content_type_that_is_not_the_bodys(kind: str, reason: str) -> None:
    assert refused(WHOLE, kind) == reason


def test_a_boundary_of_nothing_is_none() -> None:
    body = field("model", "m", boundary="") + b"----\r\n"
    for kind in ("multipart/form-data", "multipart/form-data; boundary="):
        assert refused(body, kind) == "bad_multipart"
    longest = "b" * 71
    body = field("model", "m", boundary=longest) + f"--{longest}--".encode()
    assert refused(body, f"multipart/form-data; boundary={longest}") == "bad_multipart"


def test_two_content_types() -> None:
    with pytest.raises(Unreadable, match="content_type"):
        READER.read(WHOLE, Headers.of([("content-type", FORM), ("content-type", FORM)]))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no_body"),
        (b'{"model":"m"}', "bad_multipart"),
        (b"--B", "bad_multipart"),
        (MODEL, "bad_multipart"),
        (MODEL + b"--B\r\n", "bad_multipart"),
        (MODEL[:-12] + END, "bad_multipart"),
        (WHOLE.replace(b"\r\n", b"\n"), "bad_multipart"),
        (WHOLE.replace(b"\r\n", b"\r"), "bad_multipart"),
        (FILE % (b"x\n--B\nContent-Disposition: form-data; name=model\n\ny") + WHOLE, "bad_multipart"),
        (FILE % b"x\r--B\r" + WHOLE, "bad_multipart"),
        (FILE % b"x\r\n--Bxyz\r\n" + WHOLE, "bad_multipart"),
        (FILE % b"x\r\n--B\n" + WHOLE, "bad_multipart"),
        (WHOLE + field("model", "other") + END, "bad_multipart"),
        (MODEL + b"--B--x" + END, "bad_multipart"),
        (b"\n" + WHOLE, "bad_multipart"),
        (b"--B\r\n\r\nno headers\r\n" + WHOLE, "bad_multipart"),
        (b"--B\r\n\r\nX: y\r\n\r\nno headers\r\n" + WHOLE, "bad_multipart"),
        (b"a preamble --B--\r\n" + WHOLE, "bad_multipart"),
        (b"--B\r\nContent-Disposition: attachment; name=x\r\n\r\nx\r\n" + WHOLE, "bad_multipart"),
        (b"--B\r\nno colon\r\n\r\nx\r\n" + WHOLE, "bad_multipart"),
        (b"--B\r\nX : y\r\n\r\nx\r\n" + WHOLE, "bad_multipart"),
        (b"--B\r\n" + WHOLE, "bad_multipart"),
        (field("x", "y", "X: " + "y" * 17_000) + WHOLE, "bad_multipart"),
        (field("x", "") * 2000 + WHOLE, "bad_multipart"),
        (END, "no_model"),
        (FILE % b"x" + END, "no_model"),
        (field("model", "") + END, "bad_model"),
        (field("model", "m" * 1025) + END, "bad_model"),
        (field("model", "m" * 257) + END, "bad_model"),
        (field("model", b"\xff\xfe") + END, "bad_model"),
        (field("model", "m" * 5000) + END, "bad_model"),
        ((FILE % b"x").replace(b'"file"', b'"model"') + END, "bad_model"),
        (field('model"; filename*="x', "m") + END, "bad_model"),
        (field("model", "bQ==", "Content-Transfer-Encoding: base64") + END, "bad_model"),
        (field("model", "m", "Content-Type: text/plain; charset=utf-16") + END, "bad_model"),
        (field("model", "m", "Content-Type: text/plain; charset") + END, "bad_model"),
        (MODEL + field("model", "other") + END, "duplicate_model"),
        (MODEL + (FILE % b"x").replace(b'"file"', b'"model"') + END, "duplicate_model"),
        (MODEL + MODEL + END, "duplicate_model"),
    ],
)
def test_refused(body: bytes, reason: str) -> None:
    assert refused(body) == reason


def test_two_models_are_an_error_of_the_client() -> None:
    with pytest.raises(Rejected) as caught:
        read(MODEL + MODEL + END)
    assert (caught.value.status, caught.value.code) == (400, "duplicate_model")


def test_another_name_goes_where_the_old_one_was() -> None:
    body = FILE % b"RIFF" + MODEL + field("stream", "true") + END
    splice = READER.rename(body, Headers.of([("content-type", FORM)]), "große-whisper")
    assert splice is not None
    assert splice.apply(body) == body.replace(b"whisper-1", "große-whisper".encode())
    assert read(splice.apply(body)) == BodyFields("große-whisper", stream=True)


@given(
    st.lists(
        st.sampled_from(
            [
                b"--B",
                b"--B--",
                b"\r\n",
                b"\n",
                b"-",
                b"B",
                MODEL,
                b"\r\n\r\n",
                b'Content-Disposition: form-data; name="',
            ]
        )
        | st.binary(max_size=6),
        max_size=16,
    ).map(b"".join)
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(Unreadable, Rejected):
        assert read(body).model.encode() in body


@given(st.text(min_size=1, max_size=50), st.binary(max_size=100), st.booleans(), st.permutations(range(3)))
def test_any_model_beside_any_file(model: str, file: bytes, stream: bool, order: list[int]) -> None:
    boundary = "------------------------5f3a9c"
    form = f"multipart/form-data; boundary={boundary}"
    parts = [
        field("model", model, boundary=boundary),
        field('file"; filename="f', file, boundary=boundary),
        field("stream", str(stream), boundary=boundary),
    ]
    body = b"".join(parts[n] for n in order) + f"--{boundary}--\r\n".encode()
    assert read(body, form) == BodyFields(model, stream=stream)


MIB = 1 << 20


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (FILE % bytes(20 * MIB) + WHOLE, FORM),
        (FILE % (b"\r\n--" * (5 * MIB)) + WHOLE, FORM),
        (FILE % (b"\r\n" * (10 * MIB)) + WHOLE, FORM),
        (b"--B\r\n" * (4 * MIB), FORM),
        (b"--B" * (7 * MIB), FORM),
        (field("x", "y") * (MIB // 2), FORM),
        (b"--B\r\n" + b"a:b\r\n" * (4 * MIB) + WHOLE, FORM),
        (b"-" * (20 * MIB), "multipart/form-data; boundary=" + "-" * 70),
        (b"-" * (20 * MIB), "multipart/form-data; boundary=" + "-" * 69 + "B"),
        ((b"-" * 71 + b"A") * (MIB // 4), "multipart/form-data; boundary=" + "-" * 69 + "B"),
        ((b"\r\n--" + b"b" * 69 + b"a") * (MIB // 4), "multipart/form-data; boundary=" + "b" * 70),
    ],
)
def test_20_megabytes_of_anything_take_few_steps(body: bytes, kind: str) -> None:
    def attempt() -> None:
        with suppress(Unreadable):
            assert read(body, kind).model == "whisper-1"

    assert steps(attempt) < 40_000


MODEL_HEAD = len('Content-Disposition: form-data; name="model"')


def headed(size: int) -> bytes:
    """A part with headers of so many bytes, the empty line not counted."""
    head = 'Content-Disposition: form-data; name="x"\r\nX: '
    return field("x", "y", "X: " + "y" * (size - len(head)))


ROOM = (65_536 - MODEL_HEAD) // 4
"""Bytes of headers of each of four parts that leave the model's part its own."""


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (field("x", "y") * 127, ""),
        (field("x", "y") * 128, "bad_multipart"),
        (field("x", "y", *(f"X-{n}: y" for n in range(510))), ""),
        (field("x", "y", *(f"X-{n}: y" for n in range(511))), "bad_multipart"),
        (headed(16_380), ""),
        (headed(16_381), "bad_multipart"),
        (headed(ROOM) * 4, ""),
        (headed(ROOM) * 3 + headed(ROOM + 1), "bad_multipart"),
        (FILE % (b"x--B " * 1997), ""),
        (FILE % (b"x--B " * 1998), "bad_multipart"),
        (field("x" * 256, "y"), ""),
        (field("x" * 257, "y"), "bad_multipart"),
        (field("\\\\" * 100, "y"), ""),
        (field("\\\\" * 8000, "y"), "bad_multipart"),
        (field('x"; filename="' + '\\"' * 2000, "y"), ""),
        (field('x"' + "".join(f'; p{n}="' + '"' * (n < 6) for n in range(7)), "y"), ""),
        (field('x"' + "".join(f'; p{n}="' + '"' * (n < 8) for n in range(9)), "y"), "bad_multipart"),
    ],
)
def test_bounds_of_work(parts: bytes, expected: str) -> None:
    body = parts + WHOLE
    if expected:
        assert refused(body) == expected
    else:
        assert read(body).model == "whisper-1"


def test_bounds_of_the_content_type() -> None:
    longest = (FORM + "; a=").ljust(1024, "x")
    assert read(WHOLE, longest).model == "whisper-1"
    assert refused(WHOLE, longest + "x") == "content_type"
    assert read(WHOLE, FORM + "".join(f"; a{n}=x" for n in range(7))).model == "whisper-1"
    assert refused(WHOLE, FORM + "".join(f"; a{n}=x" for n in range(8))) == "content_type"


def test_a_form_is_read_when_all_of_it_is_there() -> None:
    assert not MultipartReader().early
