"""The first message of a gRPC request: what protobuf itself reads of any bytes, we read; what it refuses, we refuse."""

from __future__ import annotations

import gzip
import json
import zlib
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.content_coding import TooLarge
from extproc.bodies.grpc_message import GrpcJsonReader, GrpcReader, is_grpc
from extproc.bodies.json_reader import JsonReader
from extproc.bodies.request import BodyFields
from extproc.errors import Unreadable
from extproc.headers import Headers
from tests.fuzz.steps import steps

TYPES = {"string": 9, "bytes": 12, "int64": 3, "uint32": 13, "bool": 8}


def message_type(name: str, /, **fields: tuple[int, str]) -> descriptor_pb2.DescriptorProto:
    """A message with these fields: number and type, a message's name with a dot in front; ``*``: repeated."""
    found = descriptor_pb2.DescriptorProto(name=name)
    for field, (number, kind) in fields.items():
        base = kind.removesuffix("*")
        label = 3 if kind.endswith("*") else 1
        if base.startswith("."):
            found.field.add(name=field, number=number, label=label, type=11, type_name=f".t{base}")
        else:
            found.field.add(name=field, number=number, label=label, type=TYPES[base])
    return found


POOL = descriptor_pool.DescriptorPool()
POOL.Add(
    descriptor_pb2.FileDescriptorProto(
        name="t.proto",
        package="t",
        syntax="proto3",
        message_type=[
            message_type("Infer", model=(1, "string"), version=(2, "string"), raw=(7, "bytes*")),
            message_type("Int", value=(1, "int64")),
            message_type("Spec", name=(1, "string"), version=(2, ".Int"), label=(4, "string")),
            message_type("Predict", spec=(1, ".Spec"), input=(2, "bytes")),
            message_type("Task", spec=(1, ".Spec"), method=(2, "string")),
            message_type("Tasks", tasks=(1, ".Task*"), input=(2, "bytes")),
            message_type("HttpBody", content_type=(1, "string"), data=(2, "bytes")),
            message_type("Chat", endpoint=(1, "string"), http_body=(2, ".HttpBody")),
            message_type("Sampling", max_tokens=(8, "uint32")),
            message_type(
                "Generate",
                id=(1, "string"),
                tokenized=(2, "bytes"),
                text=(3, "string"),
                sampling=(4, ".Sampling"),
                stream=(5, "bool"),
            ),
        ],
    )
)
Infer: Any
Predict: Any
Tasks: Any
Generate: Any
Chat: Any
Infer, Predict, Tasks, Generate, Chat = (
    message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"t.{name}"))
    for name in ("Infer", "Predict", "Tasks", "Generate", "Chat")
)
INFER = GrpcReader(model="1", version="2")
PREDICT = GrpcReader(model="1.1", version_number="1.2.1", version="1.4")
TASKS = GrpcReader(model="1.1.1", version_number="1.1.2.1", version="1.1.4")
CHAT = GrpcJsonReader("2.2", JsonReader())
GENERATE = GrpcReader(stream="5", limit="4.8", prompt=("2", "3"))


def head(coding: str = "", kind: str = "application/grpc") -> Headers:
    return Headers.of([("content-type", kind), *([("grpc-encoding", coding)] if coding else [])])


HEAD = head()


def frame(message: Any, flag: int = 0) -> bytes:
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bytes([flag]) + len(data).to_bytes(4) + data


def read(message: Any, reader: GrpcReader = INFER) -> BodyFields:
    fields = reader.read(frame(message), HEAD)
    assert isinstance(fields, BodyFields)
    return fields


def renamed(reader: GrpcReader, body: bytes, model: str, headers: Headers = HEAD) -> bytes:
    splice = reader.rename(body, headers, model)
    assert splice is not None
    return splice.apply(body)


def refused(body: bytes, headers: Headers = HEAD, reader: GrpcReader = INFER) -> str:
    with pytest.raises(Unreadable) as caught:
        reader.read(body, headers)
    return caught.value.reason


def spec(**fields: Any) -> Any:
    return Predict(spec=fields, input=b"x" * 300)


@pytest.mark.parametrize(
    ("reader", "message", "expected"),
    [
        (INFER, Infer(model="iris"), BodyFields("iris")),
        (INFER, Infer(model="iris", version="3", raw=[b"x" * 5000]), BodyFields("iris", "3")),
        (INFER, Infer(model="é" * 256), BodyFields("é" * 256)),
        (PREDICT, spec(name="half"), BodyFields("half")),
        (PREDICT, spec(name="half", version={"value": 123}), BodyFields("half", "123")),
        (PREDICT, spec(name="half", version={"value": -1}), BodyFields("half", "-1")),
        (PREDICT, spec(name="half", label="canary"), BodyFields("half", "canary")),
        (TASKS, Tasks(tasks=[{"spec": {"name": "a"}}, {"spec": {"name": "a"}}]), BodyFields("a")),
        (GENERATE, Generate(id="7"), BodyFields()),
        (
            GENERATE,
            Generate(text="héllo", stream=True, sampling={"max_tokens": 300}),
            BodyFields(stream=True, max_tokens=300, prompt_bytes=6),
        ),
        (GENERATE, Generate(tokenized=b"1234"), BodyFields(prompt_bytes=4)),
    ],
)
def test_reads(reader: GrpcReader, message: Any, expected: BodyFields) -> None:
    assert read(message, reader) == expected


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "Application/gRPC; x=y"])
def test_content_types_of_protobuf(kind: str) -> None:
    assert INFER.read(frame(Infer(model="m")), head(kind=kind)) == BodyFields("m")


@pytest.mark.parametrize(
    "kind", ["", "application/json", "application/grpc+json", "application/grpc-web", "application/grpc-web+proto"]
)
def test_other_content_types(kind: str) -> None:
    assert refused(frame(Infer(model="m")), head(kind=kind)) == "content_type"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/grpc", True),
        ("Application/GRPC+json", True),
        ("application/grpc;charset=utf-8", True),
        ("application/grpc-web", False),
        ("application/grpcish", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_who_wants_a_grpc_answer(kind: str, expected: bool) -> None:
    assert is_grpc(head(kind=kind)) == expected


def test_a_beginning_says_how_much_more_is_needed() -> None:
    whole = frame(Infer(model="m", raw=[b"x" * 999]))
    for end in range(len(whole)):
        assert INFER.read(whole[:end], HEAD) == (5 if end < 5 else len(whole))
    assert INFER.read(whole, HEAD) == BodyFields("m")


def test_only_the_first_message_counts() -> None:
    body = frame(Infer(model="first")) + frame(Infer(model="second")) + b"\x07rubbish"
    assert INFER.read(body, HEAD) == BodyFields("first")
    assert renamed(INFER, body, "other") == frame(Infer(model="other")) + frame(Infer(model="second")) + b"\x07rubbish"


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_message(coding: str, pack: Any) -> None:
    message = Infer(model="iris", version="3", raw=[b"x" * 5000])
    body = frame(pack(message.SerializeToString()), 1) + b"the next"
    assert INFER.read(body, head(coding)) == BodyFields("iris", "3")
    # It goes on uncompressed, which the same header allows message by message.
    expected = frame(Infer(model="rose", version="3", raw=[b"x" * 5000])) + b"the next"
    assert renamed(INFER, body, "rose", head(coding)) == expected
    assert refused(frame(message, 1), head(coding)) == "content_encoding"
    assert refused(body, head("snappy")) == "content_encoding"
    assert refused(body, head("identity")) == "bad_grpc"
    assert refused(body) == "bad_grpc"
    assert INFER.read(frame(message), head(coding)) == BodyFields("iris", "3")


def test_a_compressed_message_has_32_mebibytes_at_most() -> None:
    start, noise = b"\x0a\x01m\x3a", Random(1).randbytes(5 << 19)
    for more, allowed in ((0, True), (1, False)):
        size = (32 << 20) - len(start) - 4 + more
        length = bytes((size >> 7 * n & 0x7F | 0x80 * (n < 3)) for n in range(4))
        body = frame(gzip.compress(start + length + noise + bytes(size - len(noise)), 1), 1)
        if allowed:
            assert INFER.read(body, head("gzip")) == BodyFields("m")
        else:
            with pytest.raises(TooLarge):
                INFER.read(body, head("gzip"))


@pytest.mark.parametrize("size", [1, 126, 127, 128, 129, 255, 256, 16_383, 16_384])
def test_lengths_are_written_in_as_few_bytes_as_can_be(size: int) -> None:
    name = "x" * size
    assert renamed(INFER, frame(Infer(model="m")), name) == frame(Infer(model=name))
    assert renamed(PREDICT, frame(spec(name="m")), name) == frame(spec(name=name))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "no_model"),
        (Infer(version="3"), "no_model"),
        (b"\x0a\x00", "no_model"),
        (b"\x0a\x01a\x0a\x00", "no_model"),
        (b"\x08\x01", "no_model"),
        (b"\x0a\x01\xff", "bad_model"),
        (Infer(model="m" * 257), "bad_model"),
        (Infer(model="é" * 5000), "bad_model"),
        (b"\x0a", "bad_grpc"),
        (b"\x0a\x05abc", "bad_grpc"),
        (b"\x0a\x01m\x0b\x0c", "bad_grpc"),
        (b"\x0a\x01m\x0f", "bad_grpc"),
        (b"\x0a\x01m\x02\x00", "bad_grpc"),
        (b"\x0a\x01m\x10" + b"\xff" * 10, "bad_grpc"),
        (b"\x0a\x01m\x11abc", "bad_grpc"),
        (b"\x0a\x01m\x15abc", "bad_grpc"),
        (b"\x0a\x01m" + b"\x10\x00" * 60_000, "bad_grpc"),
    ],
)
def test_refused(message: Any, reason: str) -> None:
    assert refused(frame(message)) == reason


@pytest.mark.parametrize(
    "other",
    [
        *(
            b"\x11" + b"\xff" * 8,
            b"\x15" + b"\xff" * 4,
            b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x10\xff\x7f",
        ),
        *(b"\x80\x01\x05", b"\x7a\x02\xff\xff", b"\x82\x01\x02\xff\xff", b"\xfa\xff\xff\xff\x0f\x02\xff\xff"),
        *(b"\x7a\x82\x80\x00\xff\xff", b"\x7a\x80\x01" + b"\xff" * 128),
    ],
)
def test_other_fields_of_every_type_are_passed_over(other: bytes) -> None:
    """Of 64 and 32 bits, varints, fields 15, 16 and 2^29 - 1, and lengths of more bytes than one."""
    assert read(other + b"\x0a\x01m" + other) == BodyFields("m")
    assert renamed(INFER, frame(other + b"\x0a\x01m" + other), "new") == frame(other + b"\x0a\x03new" + other)
    assert refused(frame(b"\x0a\x01m" + other[:-1])) == "bad_grpc"


def test_numbers_that_no_field_has() -> None:
    assert refused(frame(b"\x0a\x01m" + b"\x82\x80\x80\x80\x10\x00")) == "bad_grpc"
    assert refused(frame(b"\x0a\x01m" + b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00")) == "bad_grpc"


@pytest.mark.parametrize("reader", [INFER, TASKS])
def test_a_message_of_as_many_fields_as_are_read(reader: GrpcReader) -> None:
    """The fields that lead to the model count too."""
    model = b"\x0a\x01m"
    for _ in range(2 if reader is TASKS else 0):
        model = b"\x0a" + bytes([len(model)]) + model
    others = 999 - (3 if reader is TASKS else 1)
    assert read(b"\x78\x00" * others + model, reader) == BodyFields("m")
    assert refused(frame(b"\x78\x00" * (others + 1) + model), reader=reader) == "bad_grpc"


def test_a_limit_of_tokens_is_32_bits_long_and_zero_is_none() -> None:
    limits = {b"\x00": None, b"\x01": 1, b"\xff\xff\xff\xff\x0f": 2**32 - 1, b"\x85\x80\x80\x80\x10": 5}
    for number, limit in limits.items():
        field = b"\x40" + number
        assert read(b"\x22" + bytes([len(field)]) + field, GENERATE).max_tokens == limit


def test_a_frame_that_is_none() -> None:
    assert refused(frame(Infer(model="m"), 2)) == "bad_grpc"
    assert refused(frame(Infer(model="m"), 255), head("gzip")) == "bad_grpc"


def test_the_last_of_equal_fields_counts() -> None:
    assert read(b"\x0a\x01a\x0a\x01b").model == "b"
    assert read(b"\x0a\x03\x0a\x01a" + b"\x0a\x03\x0a\x01b", PREDICT).model == "b"
    assert read(b"\x0a\x03\x0a\x01a" + b"\x0a\x03\x22\x01v", PREDICT) == BodyFields("a", "v")
    both = b"\x0a\x03\x0a\x01a\x0a\x03\x22\x01v\x0a\x04\x12\x02\x08\x07"
    assert read(both, PREDICT) == BodyFields("a", "7")


@given(
    st.builds(Infer, model=st.text(min_size=1, max_size=9), version=st.text(max_size=3), raw=st.lists(st.binary())),
    st.text(min_size=1, max_size=200),
)
def test_another_name_and_nothing_else(message: Any, model: str) -> None:
    changed = Infer.FromString(renamed(INFER, frame(message), model)[5:])
    assert changed == Infer(model=model, version=message.version, raw=list(message.raw))


@given(st.text(min_size=1, max_size=9), st.integers(-5, 2**40), st.binary(max_size=300), st.text(max_size=200))
def test_another_name_deep_down_mends_every_length(name: str, version: int, data: bytes, model: str) -> None:
    message = Predict(spec={"name": name, "version": {"value": version}}, input=data)
    changed = renamed(PREDICT, frame(message), model)
    assert changed == frame(changed[5:])
    expected = Predict(spec={"name": model, "version": {"value": version}}, input=data)
    assert Predict.FromString(changed[5:]) == expected


@given(
    st.text('abé"\\ 😀', min_size=1, max_size=40),
    st.dictionaries(st.sampled_from("xyz"), st.text(max_size=200)),
    st.booleans(),
)
def test_another_name_within_json_mends_every_length(model: str, rest: dict[str, str], packed: bool) -> None:
    document = {**rest, "model": "old", "stream": True}
    message = Chat(endpoint="e", http_body={"content_type": "application/json", "data": json.dumps(document).encode()})
    data = message.SerializeToString()
    body = frame(gzip.compress(data), 1) if packed else frame(data)
    headers = Headers.of([("content-type", "application/grpc"), ("grpc-encoding", "gzip")])
    told = CHAT.read(body, headers)
    assert not isinstance(told, int)
    assert (told.model, told.stream) == ("old", True)
    changed = renamed(CHAT, body, model, headers)
    assert changed[0] == 0
    found = Chat.FromString(changed[5:])
    assert len(changed) == 5 + int.from_bytes(changed[1:5])
    assert json.loads(found.http_body.data) == {**document, "model": model}
    found.http_body.data = message.http_body.data
    assert found == message


def test_every_task_gets_the_name() -> None:
    tasks = [{"spec": {"name": "a"}, "method": m} for m in ("classify", "regress")]
    body = renamed(TASKS, frame(Tasks(tasks=tasks, input=b"x")), "other")
    assert [t.spec.name for t in Tasks.FromString(body[5:]).tasks] == ["other", "other"]
    assert GENERATE.rename(frame(Generate()), HEAD, "m") is None


@given(
    st.lists(
        st.sampled_from([b"\x0a", b"\x12", b"\x08", b"\x01", b"\x03abc", b"\x0a\x01m", b"\x80", b"\xff" * 9])
        | st.binary(max_size=4),
        max_size=12,
    ).map(b"".join)
)
def test_what_we_read_of_any_bytes_protobuf_reads_too(data: bytes) -> None:
    def named(message: Any) -> str:
        return str(message.model if isinstance(message, Infer) else message.spec.name)

    for reader, kind in ((INFER, Infer), (PREDICT, Predict)):
        try:
            fields = read(data, reader)
        except Unreadable:
            continue
        try:
            message = kind.FromString(data)
        except DecodeError:
            continue  # of a field that we don't look at: the server says so
        assert fields.model == named(message)
        assert kind is Predict or fields.version == (message.version or None)
        assert named(kind.FromString(renamed(reader, frame(data), "other")[5:])) == "other"


@pytest.mark.parametrize(
    "message",
    [
        Infer(model="m", raw=[b"x" * (8 << 20)]).SerializeToString(),
        b"\x10\x00" * (4 << 20),
        b"\x0a\x00" * (4 << 20),
        b"\x0a\x02\x0a\x00" * (2 << 20),
        b"\x10" + b"\xff" * (8 << 20),
        b"\x0a\x01m" + b"\x12\x80\x80\x00" * (2 << 20),
    ],
)
@pytest.mark.parametrize("reader", [INFER, PREDICT, TASKS])
def test_8_megabytes_of_anything_take_few_steps(message: bytes, reader: GrpcReader) -> None:
    body = frame(message)

    def attempt() -> None:
        with suppress(Unreadable):
            reader.read(body, HEAD)

    assert steps(attempt) < 60_000


def test_a_message_is_read_before_the_request_ends() -> None:
    assert all(reader.early for reader in (INFER, CHAT))
