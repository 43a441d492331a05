"""gRPC on HTTP/2, by bytes: messages however they are cut, refusals, statuses and metadata."""

from __future__ import annotations

from random import Random

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.grpc_server.contract import MAX_MESSAGE, MAX_PUSHED, Sender
from extproc.grpc_server.status import Abort, StatusCode
from tests.grpc.running import running
from tests.http2.served import Served, fetched
from tests.http2.wire import HELLO, PATH, REQUEST, Answers, Fields, data, errors, headers, message, window
from tests.http2.wire import settings as setting

WIDE = HELLO + setting({4: (1 << 31) - 1}) + window(0, (1 << 31) - 1 - 65_535)


def instead(name: str, value: str) -> Fields:
    """The usual request with another header."""
    return [(key, value if key == name else old) for key, old in REQUEST]


@given(st.lists(st.binary(max_size=50).map(b"x".__add__), max_size=8), st.integers(0, 1 << 32))
@settings(max_examples=100, deadline=None)
def test_messages_split_anywhere_and_many_in_a_frame(messages: list[bytes], seed: int) -> None:
    random, served = Random(seed), Served()
    answer = served.say(HELLO + headers(1))
    rest = b"".join(map(message, messages))
    while rest:
        size = random.choice([1, 2, 5, 6, random.randint(1, 200)])
        answer += served.say(data(1, rest[:size]))
        rest = rest[size:]
    answers = Answers().read(answer + served.say(data(1, b"", ends=True)))
    assert served.handlers[0].heard == messages
    assert answers.data.get(1, b"") == b"".join(map(message, messages))
    assert answers.status(1) == ("0", "")
    assert answers.ended == {1}
    served.check()
    assert not served.connection.streams


def test_a_message_of_nothing() -> None:
    served = Served()
    answers = Answers().read(served.say(HELLO + headers(1) + data(1, message(b"") * 3, ends=True)))
    assert served.handlers[0].heard == [b""] * 3
    assert answers.data[1] == message(b"") * 3


def test_a_large_message_in_many_frames() -> None:
    served, large = Served(), Random(1).randbytes(3_000_000)
    answer = served.say(WIDE + headers(1))
    wire = message(large)
    for at in range(0, len(wire), 16_384):
        answer += served.say(data(1, wire[at : at + 16_384]))
    assert Answers().read(answer).data[1] == wire


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        (data(1, message(b"a", 1)), StatusCode.UNIMPLEMENTED, "messages must not be compressed"),
        (data(1, b"\1"), None, ""),
        (data(1, message(b"abc")[:-1], ends=True), StatusCode.INTERNAL, "the last message is cut off"),
        (data(1, b"\0\0", ends=True), StatusCode.INTERNAL, "the last message is cut off"),
        (data(1, b"\0" + (MAX_MESSAGE + 1).to_bytes(4)), StatusCode.RESOURCE_EXHAUSTED, "a message of more than"),
        (data(1, b"\0\xff\xff\xff\xff"), StatusCode.RESOURCE_EXHAUSTED, "a message of more than"),
        (data(1, message(b"say:no")), StatusCode.NOT_FOUND, "no"),
        (data(1, message(b"bad:")), StatusCode.INTERNAL, "the processor failed on a message"),
        (data(1, message(b"end:")), StatusCode.OK, ""),
        (data(1, message(b"a") + message(b"end:") + message(b"never heard")), StatusCode.OK, ""),
    ],
)
def test_statuses(said: bytes, code: StatusCode | None, text: str) -> None:
    served = Served()
    answers = Answers().read(served.say(HELLO + headers(1) + said))
    if code is None:
        assert not answers.ended
        return
    status, details = answers.status(1)
    assert status == str(int(code))
    assert details.replace("%20", " ").startswith(text)
    assert answers.ended == {1}
    assert served.handlers[0].closed == 1
    assert b"never heard" not in served.handlers[0].heard
    served.check()


@pytest.mark.parametrize(
    ("fields", "status", "grpc_status"),
    [
        (instead(":path", "/no.Such/Method"), "200", "12"),
        (instead(":path", PATH + "/"), "200", "12"),
        (instead(":method", "GET"), "405", None),
        (instead("content-type", "application/json"), "415", None),
        (instead("content-type", "application/grpc+proto"), "200", "0"),
        ([pair for pair in REQUEST if pair[0] != "content-type"], "415", None),
    ],
)
def test_what_is_not_for_us(fields: Fields, status: str, grpc_status: str | None) -> None:
    served = Served()
    answers = Answers().read(served.say(HELLO + headers(1, fields) + data(1, b"", ends=True)))
    found = dict(answers.fields[1])
    assert (found[":status"], found.get("grpc-status")) == (status, grpc_status)
    assert answers.ended == {1}
    served.check()


def test_refused_by_the_factory_and_by_a_failing_one() -> None:
    for error, status in ((Abort(StatusCode.UNAVAILABLE, "full"), "14"), (ValueError("secret"), "13")):
        served = Served()

        def refuse(_: Sender, error: Exception = error) -> None:
            raise error

        served.service.factories = {PATH.encode(): refuse}  # type: ignore[dict-item]
        answer = served.say(HELLO + headers(1) + data(1, message(b"a"), ends=True))
        found = dict(Answers().read(answer).fields[1])
        assert found["grpc-status"] == status
        assert "secret" not in found["grpc-message"]


def test_replies_that_wait_hold_back_the_reading() -> None:
    served = Served()
    served.say(HELLO + setting({4: 0}) + headers(1) + data(1, message(b"1") + message(b"2") + message(b"end:")))
    assert served.handlers[0].heard == [b"1"]
    answers = Answers().read(served.say(window(1, 6)))
    assert served.handlers[0].heard == [b"1", b"2"]
    assert answers.data[1] == message(b"1")
    served.check()
    answers.read(served.say(window(1, 1000)))
    assert answers.data[1] == message(b"1") + message(b"2") + message(b"end:")
    assert answers.status(1) == ("0", "")


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("room", [0, 1, 100_000, 1 << 30])
def test_large_replies_stay_in_order(room: int, ends: bool) -> None:
    """The next message is not looked at before all replies to the last one are on their way."""
    served = Served()
    said = message(b"much") + message(b"2") + message(b"much") + message(b"end:")
    served.connection.receive(WIDE + setting({4: room}) + headers(1) + data(1, said, ends=ends))
    answers = Answers().read(fetched(served.connection))
    for _ in range(20):
        answers.read(served.say(window(1, 50_000)))
    much = b"".join(message(bytes((n,)) * 100_000) for n in range(3))
    assert answers.data[1] == much + message(b"2") + much + message(b"end:")
    assert answers.status(1) == ("0", "")
    served.check()


def test_many_large_replies_are_no_recursion() -> None:
    served = Served()
    large = message(b"x" * 16_380)
    served.connection.receive(WIDE + headers(1))
    answers = Answers().read(fetched(served.connection))
    for _ in range(60):
        served.connection.receive(data(1, large[:10_000]) + data(1, large[10_000:]))
    served.check()
    answers.read(fetched(served.connection))
    assert answers.data[1] == large * 60


def test_what_is_pushed_to_a_client_that_never_reads() -> None:
    served = Served()
    served.say(HELLO + setting({4: 0}) + headers(1))
    call = served.connection.streams[1]
    for _ in range(MAX_PUSHED + 1):
        call.push(b"news")  # type: ignore[attr-defined]
        served.check()
    found = dict(Answers().read(fetched(served.connection)).fields[1])
    assert found["grpc-status"] == str(int(StatusCode.RESOURCE_EXHAUSTED))
    assert served.handlers[0].closed == 1
    call.push(b"too late")  # type: ignore[attr-defined]
    assert errors(fetched(served.connection)) == []


DETAILS = [
    "",
    "plain",
    "per%cent",
    "größe 模型 🚦",
    "line\r\nbreak\0\x7f",
    "a" * 900,
    "ü" * 50_000,
    "half \ud800 of one",
]


@pytest.mark.parametrize("details", DETAILS)
def test_details_read_back_by_grpcio(details: str) -> None:
    def refuse(_: Sender) -> None:
        raise Abort(StatusCode.NOT_FOUND, details)

    with running({PATH: refuse}, engine="http2") as server, pytest.raises(grpc.RpcError) as caught:  # type: ignore[dict-item]
        list(server.open(PATH)(iter([b"a"])))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == details[:1000].replace("\ud800", "?")


def test_metadata_of_grpcio() -> None:
    sent = [("x-bin", b"\0\xff"), ("x-bin", b""), ("plain", "a b~"), ("long-bin", bytes(range(256)) * 20)]
    seen: list[tuple[str, str | bytes]] = []

    def factory(send: Sender) -> None:
        seen.extend(send.metadata)
        raise Abort(StatusCode.NOT_FOUND, "")

    with running({PATH: factory}, engine="http2") as server, pytest.raises(grpc.RpcError):  # type: ignore[dict-item]
        list(server.open(PATH)(iter([b"a"]), metadata=sent))
    assert [pair for pair in seen if pair[0] != "user-agent"] == sent
